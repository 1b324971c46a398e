"""Overrides on the command line: quote the values of text keys.

In Hydra's grammar `name=1e5` is the number 100000.0, and `data.path=~/x.jsonl`, `name=(x)` and `data.template=Q: {question}`
are errors. The value of a text key is therefore quoted before Hydra reads it, unless Hydra would read it as typed. A pair of
quotes around the whole value, `${...}`, and in a sweep the commas between values keep their meaning.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf.errors import GrammarParseError
from omegaconf.grammar_parser import parse as parse_interpolations

from tandem.config.schema import SETTINGS, ConfigError

CONF = Path(__file__).resolve().parent.parent / "conf"
TYPES = {key: setting.type for key, setting in SETTINGS.items()}
"""The type of every key."""
_OVERRIDE = re.compile(r"(?P<key>(?P<prefix>\+{0,2})(?P<name>[A-Za-z_][\w.]*))=(?P<value>.*)", re.DOTALL)
_SWEEP_FUNCTION = re.compile(r"\s*(choice|range|glob|interval|sort|shuffle|tag)\s*\(.*\)\s*", re.DOTALL)
_QUOTED = re.compile(r"""'(\\.|[^'\\])*'|"(\\.|[^"\\])*\"""", re.DOTALL)
_OPENING, _CLOSING = "([{", ")]}"
_LAUNCHER = re.compile(r"hydra[./]launcher\b")
"""The settings of Hydra itself that a sweep takes."""
_MISSING = "???"
"""OmegaConf's mark of a missing value."""


def literal_overrides(overrides: Sequence[str], *, sweep: bool = False) -> list[str]:
    """Return the overrides with quotes around texts that Hydra would not read as typed, in lists of texts too.

    `sweep`: whether a comma separates values. Raises `ConfigError` for a text that no key can hold.
    """
    for override in overrides:
        _check_key(override, sweep=sweep)
    return [literal_override(override, sweep=sweep) for override in overrides]


def _check_key(override: str, *, sweep: bool) -> None:
    """Raise `ConfigError` for an override that Hydra takes, but that is no setting of ours."""
    key, value = split_override(override)
    name = key.lstrip("~+")
    if not name:
        raise ConfigError(f"{override}: give key=value")
    if key.startswith("~"):
        raise ConfigError(f"{override}: settings cannot be deleted; give key=value")
    if "@" in name:
        raise ConfigError(f"{override}: @ cannot be used; write {name.partition('@')[0]}={value or 'NAME'}")
    if re.match(r"hydra[./]", name) and not (sweep and _LAUNCHER.match(name)):
        accepted = "a sweep takes only hydra/launcher and hydra.launcher" if sweep else "a single run takes nothing"
        raise ConfigError(f"{override}: {accepted} of Hydra's own settings; leave it out")
    if value.strip() == _MISSING:
        raise ConfigError(f"{override}: {_MISSING} marks a missing value; give another")


def literal_override(override: str, *, sweep: bool = False) -> str:
    """Return `override` as `literal_overrides` does: unchanged unless its key holds text or a list of texts."""
    match = _OVERRIDE.fullmatch(override)
    kind = _type(match["name"]) if match else None
    if match is None or kind not in (str, list[str]) or (match["value"].startswith("{") and match["name"] not in TYPES):
        return override  # the dictionary sets keys of the group
    element: Callable[[str], str] = partial(_literal, override)
    if kind == list[str]:
        element = partial(_literal_list, element)
    value = match["value"]
    if not sweep:
        value = element(value)
    elif not _SWEEP_FUNCTION.fullmatch(value):
        value = ",".join(map(element, split_values(value)))
    return f"{match['key']}={value}"


def _type(name: str) -> object:
    """Return the type of a key's value; `str` for a group, whose value is a file name; None for any other name."""
    return str if (CONF / name).is_dir() else TYPES.get(name)


def quoted(text: str) -> str:
    """Return `text` with quotes, as a value that Hydra reads as exactly this text."""
    return QuotedString(text, Quote.single).with_quotes()


def split_override(override: str) -> tuple[str, str]:
    """Return the key and the value of an override; the value is empty without a `=`."""
    key, _, value = override.partition("=")
    return key, value


def split_values(text: str) -> Iterator[str]:
    """Yield the parts of `text` between commas outside of quotes and brackets."""
    start, place, depth = 0, 0, 0
    while place < len(text):
        if not text[start:place].strip(" [{(") and (in_quotes := _QUOTED.match(text, place)):
            place = in_quotes.end()
            continue
        if text[place] == "," and depth <= 0:
            yield text[start:place]
            start, depth = place + 1, 0
        depth += (text[place] in _OPENING) - (text[place] in _CLOSING)
        place += 1
    yield text[start:]


def _literal(override: str, text: str) -> str:
    """Return `text` with quotes if Hydra needs them. Raises `ConfigError` if the key of `override` cannot hold this text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{override!a}: this is not valid UTF-8; give valid text") from error
    if "\0" in text:
        raise ConfigError(f"{override!a}: a text cannot contain a null character; remove it")
    if text.strip() == _MISSING:
        raise ConfigError(f"{override}: {_MISSING} marks a missing value; give another")
    if "${" in text:
        try:
            parse_interpolations(text)
        except GrammarParseError as error:
            raise ConfigError(
                f"{override}: ${{ begins a reference to another key or to the environment, as in ${{seed}} or "
                "${oc.env:HOME}, and this one cannot be read; correct it, or leave ${ out"
            ) from error
    value = _read(text)
    if value is not None and (text[:1] in ("'", '"') or "${" in text):
        return text
    # A backslash at the end would escape the comma after it.
    return text if value == text and "\\" not in text else quoted(text)


def _literal_list(element: Callable[[str], str], text: str) -> str:
    """Return a list with `element` applied to each of its elements; anything else unchanged."""
    inside = text.strip()
    if not (inside.startswith("[") and inside.endswith("]")) or not inside[1:-1].strip():
        return text
    return f"[{','.join(element(each.strip()) for each in split_values(inside[1:-1]))}]"


def _read(text: str) -> str | None:
    """Return the text that Hydra reads in a value; None if it reads another type, or cannot read the value."""
    try:
        value = _parser().parse_override(f"key={text}").value()
    except HydraException:
        return None
    return value if isinstance(value, str) else None


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def is_training() -> bool:
    """Whether this process is launch/train.py, or makes a run of a sweep with its arguments."""
    return Path(sys.argv[0]).name == "train.py"


def training_arguments(*overrides: str, without: Sequence[str] = ()) -> list[str]:
    """Return this process's arguments without name, resume, the keys `without` and those of `overrides`, which follow."""
    keys = ("name", "resume", *without, *(split_override(override)[0] for override in overrides))
    return [*(argument for argument in sys.argv[1:] if split_override(argument)[0] not in keys), *overrides]


def training_command(arguments: Sequence[str]) -> str:
    """Return the command that starts launch/train.py with `arguments`."""
    return shlex.join(["python", sys.argv[0], *arguments])


def resume_command(*overrides: str) -> str:
    """Return a command that resumes this process's run: with its arguments and `overrides`, or the same command."""
    return training_command(training_arguments(*overrides)) if is_training() else "the same command"
