"""Access to the fields of a row: the value of a dotted name, and its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SHOWN_CHARS = 200
"""The number of characters of field names or of a value that one message shows."""


@dataclass(frozen=True)
class Numeral:
    """A number as the dataset spells it, not rounded by a conversion."""

    text: str
    rounded_by: str = ""
    """the column type that may have dropped digits of the number; empty if none"""

    def __repr__(self) -> str:
        return self.text


def lookup(record: Mapping[str, object], field: str, key: str) -> object:
    """Return the value of `field`, which the setting `key` names.

    `field` is the name of a field or, if no field has this name, a path: `reward_model.ground_truth` is the field
    `ground_truth` of the object in the field `reward_model`, `answers.0` the first entry of a list. Raises `ValueError` when
    the value is missing or null.
    """
    value: object = record
    if field in record:
        value = record[field]
    else:
        parts = field.split(".")
        for depth, part in enumerate(parts):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                holder = f"field {'.'.join(parts[:depth])!r}" if depth else "it"
                raise ValueError(f"no field {field!r} ({key}); {holder} {_contents(value)}")
    if value is None:
        raise ValueError(f"field {field!r} is empty")
    return value


def text_of(value: object, what: str, numbers: bool = False) -> str:
    """Return the text `value` without surrounding white space. `what` names it in messages.

    With `numbers`, numbers and booleans are returned as text too, spelled as they are stored. Raises `ValueError` when `value`
    is no text, is blank, or cannot be encoded.
    """
    match value:
        case str():
            text = value.strip()
        case bool() if numbers:
            text = str(value)
        case Numeral() if numbers:
            text = _spelled(value, what)
        case _:
            raise ValueError(f"{what} is not text{' or a number' * numbers} but {_kind(value)}")
    if not text:
        raise ValueError(f"{what} is empty")
    check_encodable(text, what)
    return text


def check_encodable(text: str, what: str) -> None:
    """Raise `ValueError` when `text` holds an unpaired surrogate, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} holds half a surrogate pair ({text[error.start]!a}), which is no character") from error


def _spelled(number: Numeral, what: str) -> str:
    if not any(character.isdigit() for character in number.text):
        raise ValueError(f"{what} is {number.text}, which is no answer")
    if number.rounded_by:
        raise ValueError(f"{what} is {number.text}, of which {number.rounded_by} may have lost digits; store it as text")
    return number.text


def _kind(value: object) -> str:
    """Describe a value that is no text; for an object or a list, add how to name an entry of it."""
    match value:
        case Mapping():
            return f"an object ({_contents(value)}); name one of its fields, as NAME.FIELD"
        case list():
            return f"a list of {len(value)}; name one of its entries, as NAME.0"
        case Numeral():
            return f"a number: {value.text:.40}"
        case _:
            return f"{type(value).__name__}: {value!r:.40}"


def _contents(value: object) -> str:
    if isinstance(value, Mapping):
        return f"has {', '.join(map(repr, value)) or 'none'}"[:SHOWN_CHARS]
    return f"has {len(value)} entries" if isinstance(value, list) else "is null" if value is None else "has no fields"
