"""Explain errors in the command line: Hydra's own messages give neither the argument at fault nor the remedy."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from hydra.errors import MissingConfigException, OverrideParseException

from launch.command_line import CONF, TYPES, is_training, quoted
from launch.peer_names import KEYS
from tandem.config.load import RETIRED
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import ConfigError

_INSTALLATION = re.compile(r"(un)?install=(bash|zsh|fish)")
_OPTIONS = {
    "--cfg": "-c",
    "--resolve": "",
    "--package": "-p",
    "--info": "-i",
    "--multirun": "-m",
    "--shell-completion": "-sc",
}
"""The options of Hydra that a program takes, with their short forms."""
_UNTAKEN = {
    "experiment": "write +experiment=NAME: its settings win over those of the other groups",
    "experiment_preset": "launch/experiment.py takes it, as preset=NAME",
}
"""Groups that `GROUP=NAME` cannot choose, and how to choose them."""
_WANTED: dict[Any, str] = {
    bool: "true or false",
    bool | None: "true, false or null",
    int: "a whole number",
    float: "a number",
}
"""The value that a key of each type needs, in words."""
_COLLECTIONS: dict[Any, tuple[str, str]] = {
    list[str]: ("a list", "[a,b]"),
    list[int]: ("a list of whole numbers", "[1,8]"),
    list[float]: ("a list of numbers", "[0.5,1]"),
    tuple[float, float]: ("two numbers", "[0.9,0.98]"),
    list[ScheduleConfig]: ("a list of schedules", "[{name: chunk, chunk_tokens: 16}]"),
    dict[str, int]: ("a dictionary of whole numbers", "{key: 1}"),
    dict[str, Any]: ("a dictionary", "{key: value}"),
}
"""The same for lists and dictionaries, with an example."""
_UNKNOWN_KEY = re.compile(r"Could not override '([^']*)'|^(\S+): Key '\w+' not in '")
_UNKNOWN_PART = re.compile(r"Key '(\w+)' not in '")
_IN_FILE = re.compile(r"In '(?P<file>[^']*)': \w+ raised while composing config:\n(?P<why>.*)\n *full_key: (?P<key>.*)")
_ADDED_TWICE = re.compile(r"An item is already at '([^']*)'")
_ILL_TYPED = re.compile(r"Error merging override ([^=]+)=(.*)")
_SEVERAL = re.compile(r"Ambiguous value for argument '(.*)'")


def explain(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """Return one message for the user. Hydra wraps the useful one in another, and advises adding unknown keys, which we refuse.

    `arguments` are those of the command line.
    """
    if isinstance(error, OverrideParseException):
        return explain_unreadable(error.override, arguments)
    if isinstance(error, MissingConfigException) and (message := _explain_missing(str(error.missing_cfg_file))):
        return message
    if match := _IN_FILE.match(str(error)):
        return _explain_file(match["file"], match["key"], match["why"])
    if match := _UNKNOWN_KEY.search(str(error)):
        return _explain_unset(match[1] or match[2], str(error.__cause__))
    if match := _ADDED_TWICE.search(str(error)):
        return f"+{match[1]}: there is this setting already; leave out the +"
    if match := _SEVERAL.search(str(error)):
        return f"{match[1]}: several values are a sweep; {'add --multirun, or give one' if is_training() else 'give one'}"
    if match := _ILL_TYPED.match(str(error)):
        return _explain_value(match[1], match[2])
    lines = [str(error).strip()]
    if error.__cause__ is not None and not isinstance(error, ConfigError):
        lines.append(str(error.__cause__).strip().splitlines()[0])
    return "\n".join(line for line in lines if line)


def explain_unreadable(override: str, arguments: Sequence[str] = ()) -> str:
    """Return a message with the remedy for an override that Hydra cannot read, one of the command line's `arguments`."""
    key, equals, value = override.partition("=")
    name = key.lstrip("+~").partition("@")[0]
    if whole := _split_by_shell(override, arguments):
        return f"{override}: the shell has split this off; quote the whole argument: {shlex.quote(whole)}"
    if not equals:
        return f"{override}: give a value, as in {override}=VALUE" if known(name) else explain_unknown(name)
    return _explain_value(key, value) if known(name) else explain_unknown(name)


def _explain_value(key: str, value: str) -> str:
    """Return a message for a value that cannot be read, or is not what its key takes."""
    name = key.lstrip("+~").partition("@")[0]
    kind: Any = TYPES.get(name, _type_inside(name))
    if kind in _WANTED:
        return f"{key}={value}: give {_WANTED[kind]}"
    if kind in _COLLECTIONS:
        description, example = _COLLECTIONS[kind]
        if example.startswith("[") and not value.strip().startswith(("[", "{")):
            return f"{key}={value}: this is a list; write {shlex.quote(f'{key}=[{value}]')}"
        return f"{key}={value}: give {description}, as in {shlex.quote(f'{key}={example}')}"
    if inside := [other for other in TYPES if other.startswith(f"{name}.")]:
        return f"{key}={value}: this is a group of settings; give one of them, as in {inside[0]}=VALUE"
    if not known(name):
        return explain_unknown(name)
    return f"{key}={value}: this cannot be read; if it is one text, write {shlex.quote(f'{key}={quoted(value)}')}"


def _type_inside(key: str) -> Any:
    """Return the type of the values of the dictionary that holds `key`; None if there is no such setting."""
    return next((get_args(kind)[1] for other, kind in TYPES.items() if _holds(other, kind, key)), None)


def _holds(setting: str, kind: Any, key: str) -> bool:
    """Whether `key` is inside a setting that is a dictionary."""
    return get_origin(kind) is dict and key.startswith(f"{setting}.")


def _split_by_shell(override: str, arguments: Sequence[str]) -> str:
    """Return the argument that the shell has split at its spaces into `override` and its neighbors; empty if it has not.

    A part without `=` belongs to the argument before it.
    """
    if override not in arguments:
        return ""
    start = stop = list(arguments).index(override)
    while start > 0 and "=" not in arguments[start] and not arguments[start - 1].startswith("-"):
        start -= 1
    while stop + 1 < len(arguments) and "=" not in arguments[stop + 1] and not arguments[stop + 1].startswith("-"):
        stop += 1
    whole = " ".join(arguments[start : stop + 1])
    return whole if stop > start and "=" in arguments[start] else ""


def _explain_file(file: str, key: str, why: str) -> str:
    """Return a message for a setting `key` in a file of conf/ that Hydra refuses, saying `why`."""
    if key == file.partition("/")[0]:
        remedy = "write '# @package _global_' in its first line"
    elif not key:
        remedy = f"{why}; write settings, as in 'key: value'"
    elif why.startswith("Key "):
        remedy = explain_unknown(key)
    else:
        remedy = f"{key}: {why}; give {_WANTED.get(TYPES.get(key), 'another value')}"
    return f"{CONF / file}.yaml: {remedy}"


def _explain_unset(key: str, cause: str) -> str:
    """Return a message for a key that Hydra could not set because of `cause`."""
    if (unknown := _UNKNOWN_PART.search(cause)) and TYPES.get(key) == list[ScheduleConfig]:
        return f"{key}: {unknown[1]}: there is no such key; choose {' or '.join(each.name for each in fields(ScheduleConfig))}"
    return explain_unknown(key)


def explain_unknown(key: str) -> str:
    """Return a message with the keys that are similar to an unknown one, or with the remedy for a retired key."""
    if key in RETIRED:
        return f"{key}: there is no such key any more: {RETIRED[key]}"
    if key in _UNTAKEN:
        return f"{key}: {_UNTAKEN[key]}"
    last = key.split(".")[-1]
    similar = [other for other in TYPES if other.split(".")[-1] == last]
    similar = similar or ([KEYS[last]] if last in KEYS else get_close_matches(key, [*TYPES, *group_files()], n=3, cutoff=0.7))
    return f"{key}: there is no such key" + (f"; did you mean {' or '.join(similar)}?" if similar else "")


def check_options(arguments: Sequence[str]) -> None:
    """Raise `ConfigError` for an option that no program takes, or that lacks what belongs to it."""
    long_forms = {short: option for option, short in _OPTIONS.items() if short}
    names = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    options = {each: long_forms.get(each, each) for each in names}
    for each, option in options.items():
        if known(name := each.lstrip("-")):
            raise ConfigError(f"{each}: settings are written without -, as in {name}=VALUE")
        if option not in _OPTIONS:
            similar = get_close_matches(option, ["--config", "--help", *_OPTIONS], n=1)
            remedy = f"did you mean {similar[0]}?" if similar else "--help lists the options"
            raise ConfigError(f"{each}: there is no such option; {remedy}")
        # A shell that asks for completions says so in its environment.
        if (
            option == "--shell-completion"
            and "COMP_LINE" not in os.environ
            and not any(map(_INSTALLATION.fullmatch, arguments))
        ):
            raise ConfigError(f"{each}: give it with install=bash, install=zsh or install=fish, or the same with uninstall=")
        if option in ("--resolve", "--package") and "--cfg" not in options.values():
            raise ConfigError(f"{each}: it says what --cfg prints; add --cfg job, or leave it out")


def _explain_missing(file: str) -> str:
    """Return a message for `GROUP/NAME`, which is no file of conf/; empty if GROUP is no group."""
    group, _, name = file.removesuffix(".yaml").partition("/")
    if group not in group_files():
        group, _, name = file.removesuffix(".yaml").rpartition("/")
        return f"{group}={name}: Hydra has no such file" if group else ""
    return f"{group}={name}: " + (f"there is no conf/{group}/{name}.yaml; " if name else "") + _choose(group, name)


def _choose(group: str, name: str) -> str:
    """Return the remedy for `name`, which `group` does not have."""
    names = group_files()[group]
    similar = get_close_matches(name, names, n=1)
    return f"did you mean {similar[0]}? The choices are {', '.join(names)}" if similar else f"choose {' or '.join(names)}"


def group_files() -> dict[str, list[str]]:
    """Return the names of the files in each group of conf/."""
    return {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in sorted(CONF.glob("*/"))}


def known(key: str) -> bool:
    """Whether `key` is a setting, a section, or inside a setting that is a dictionary."""
    return any(key == other or other.startswith(f"{key}.") or _holds(other, kind, key) for other, kind in TYPES.items())
