"""`--config FILE`: a YAML file of one's own, as overrides that precede those of the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from launch.command_line import CONF, TYPES, quoted, split_override
from launch.explanations import explain_unknown, group_files, known
from tandem.config.load import RETIRED
from tandem.config.schema import SETTINGS, ConfigError
from tandem.runtime.disk import reason

OPTION = "--config"
DEFAULTS = "defaults"
"""The key of Hydra's list of groups."""
_NAME = re.compile(r"[A-Za-z_]\w*")


def with_config_files(arguments: Sequence[str]) -> list[str]:
    """Return a command line with the overrides of each `--config FILE` in its place, before all others.

    A group chosen on the command line overrides the files' choice. Raises `ConfigError` for a file that cannot be used.
    """
    files, others = _split(arguments)
    chosen = {split_override(argument)[0] for argument in others} & group_files().keys()
    from_files = [override for file in files for override in overrides_of(file)]
    return [override for override in from_files if split_override(override)[0] not in chosen] + others


def read_yaml(file: Path, title: str) -> Any:
    """Return the content of a YAML file that a user may have written.

    Raises `ConfigError`, whose message begins with `title`, for a file that cannot be read or is not YAML.
    """
    return _read(file, title, OmegaConf.load)


def _read(file: Path, title: str, load: Callable[[Path], Any]) -> Any:
    try:
        return load(file)
    except OSError as error:
        raise ConfigError(f"{title}: {reason(error)}; name a YAML file") from error
    except (YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ConfigError(f"{title}: this is not YAML: {' '.join(str(error).split()):.300}; correct the file") from error


@contextmanager
def composing() -> Iterator[None]:
    """Compose the files of conf/ in this block. Raises `ConfigError`, which names the file, for one that is no YAML."""
    try:
        yield
    except OmegaConfBaseException:  # some are ValueErrors too
        raise
    except (YAMLError, ValueError, RecursionError) as error:
        for file in sorted(CONF.glob("**/*.yaml")):
            read_yaml(file, str(file))
        why = "a list of defaults leads back to itself" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        raise ConfigError(f"{CONF}: these files cannot be composed: {why}; correct them") from error


def _split(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the files that `--config` names, and the other arguments."""
    files: list[Path] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        option, equals, name = argument.partition("=")
        if option != OPTION:
            others.append(argument)
        elif name := name if equals else next(rest, ""):
            files.append(Path(name).expanduser())
        else:
            raise ConfigError(f"{OPTION}: name a YAML file, as in {OPTION} mine.yaml")
    return files, others


class _TextLoader(yaml.SafeLoader):
    """A loader that leaves all scalars as text but follows merge keys (`<<`)."""


_TextLoader.yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}


def overrides_of(file: Path) -> list[str]:
    """Return the settings in a YAML file as overrides, the choices of groups first. Raises `ConfigError` for a bad file."""
    title = f"{OPTION} {file}"
    settings = OmegaConf.to_container(read_yaml(file, title), resolve=False)
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{title}: write settings, as in 'steps: 40'")
    # As typed: 1e5, 007 and yes are texts where a key takes texts.
    typed = _read(file, title, lambda path: yaml.load(path.read_text(encoding="utf-8"), _TextLoader))
    groups = [f"{group}={name}" for group, name in _choices(file, settings)]
    return groups + list(_flat(file, {key: value for key, value in settings.items() if not _is_choice(key, value)}, typed))


def _is_choice(key: Any, value: Any) -> bool:
    return key == DEFAULTS or (key in group_files() and isinstance(value, str))


def _choices(file: Path, settings: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield the groups that a file chooses: `model: smollm2`, or in Hydra's list `defaults`."""
    entries = settings.get(DEFAULTS, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{OPTION} {file}: {DEFAULTS}: write a list of groups, as in '- model: smollm2'")
    yield from ((group, name) for entry in entries for group, name in entry.items())
    yield from ((key, value) for key, value in settings.items() if key != DEFAULTS and _is_choice(key, value))


def _flat(file: Path, settings: Mapping[Any, Any], typed: Any, prefix: str = "") -> Iterator[str]:
    """Yield an override for each setting, whose text in the file is in `typed`. Raises `ConfigError` for an unknown key."""
    for name, value in settings.items():
        key, text = f"{prefix}{name}", typed.get(str(name), value)
        if key in RETIRED:
            continue
        if not known(key):
            raise ConfigError(f"{OPTION} {file}: {explain_unknown(key)}")
        if isinstance(value, Mapping) and key not in SETTINGS:
            yield from _flat(file, value, text, f"{key}.")
        elif TYPES.get(key) is str:
            yield f"{key}={quoted(_text(file, key, value, text))}"
        elif TYPES.get(key) == list[str] and isinstance(value, list):
            yield f"{key}=[{','.join(quoted(_text(file, key, *each)) for each in zip(value, text, strict=True))}]"
        else:
            yield f"{key}={_literal(file, key, value)}"


def _text(file: Path, key: str, value: Any, text: Any) -> str:
    """Return the `text` of a scalar `value`. Raises `ConfigError` for any other value."""
    if value is None or not isinstance(text, str):
        raise ConfigError(f"{OPTION} {file}: {key}: give a text, as in {key.rpartition('.')[2]}: 'NAME', or '' for none")
    return text


def _literal(file: Path, key: str, value: Any) -> str:
    """Return a value in Hydra's grammar."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case list():
            return f"[{','.join(_literal(file, key, each) for each in value)}]"
        case Mapping():
            if bad := [name for name in value if not (isinstance(name, str) and _NAME.fullmatch(name))]:
                raise ConfigError(f"{OPTION} {file}: {key}: the name {bad[0]!r} must consist of letters, digits and _")
            return f"{{{','.join(f'{name}:{_literal(file, key, each)}' for name, each in value.items())}}}"
        case _:
            return quoted(str(value))
