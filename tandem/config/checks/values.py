"""Check each value by itself: against the choices and bounds that its field declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from tandem.config.setting import Setting


def value_errors(section: Any, prefix: str = "") -> Iterator[str]:
    """Yield a line for each value in `section` that its field does not allow: the key, the value, the remedy.

    `prefix`: what precedes the names of the fields in their keys.
    """
    for field in fields(section):
        key, value = prefix + field.name, getattr(section, field.name)
        if is_dataclass(value):
            yield from value_errors(value, f"{key}.")
        elif isinstance(value, list) and value and is_dataclass(value[0]):
            for index, item in enumerate(value):
                yield from value_errors(item, f"{key}[{index}].")
        elif remedy := field.metadata.get("setting", Setting()).remedy(value):
            yield f"{key}={list(value) if isinstance(value, tuple) else value}: {remedy}"
