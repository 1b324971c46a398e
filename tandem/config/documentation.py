"""Read the declaration of each configuration field and the text below it from the source of its class."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from typing import get_args, get_type_hints

from tandem.config.setting import Setting


@dataclass(frozen=True)
class Field:
    """One field as its class declares it."""

    type: str
    default: str
    """empty: it must be set"""
    meaning: str


def documented(section: type, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Yield the dotted key and the declaration of each setting of a configuration class and of those inside it."""
    types, declared = get_type_hints(section), declarations(section)
    for field in fields(section):
        if is_dataclass(inner := types[field.name]) and isinstance(inner, type):
            yield from documented(inner, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, declared[field.name]


def declarations(section: type) -> dict[str, Field]:
    """Return each field of a configuration class by name."""
    (node,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(node, ast.ClassDef)
    fields: dict[str, Field] = {}
    for statement, below in pairwise([*node.body, ast.Pass()]):
        match statement, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                fields[name] = _field(statement, text)
            case ast.AnnAssign(target=ast.Name(id=name)), _:
                fields[name] = _field(statement, "")
    return fields


def _field(statement: ast.AnnAssign, text: str) -> Field:
    return Field(ast.unparse(statement.annotation), _default(statement.value), " ".join(text.split()))


def _default(value: ast.expr | None) -> str:
    """Return the default as the source spells it."""
    match value:
        case ast.Call(func=ast.Name(id="setting" | "wait"), args=[default, *_]):
            return _default(default)
        case None | ast.Name(id="MISSING"):
            return ""
        case _:
            return ast.unparse(value).replace("SELF", "'self'")


def allowed(setting: Setting, quote: str = "") -> str:
    """Return the choices, between `quote`s, or the bounds of a setting in words; empty without any."""
    each = "each " if get_args(setting.type)[:1] else ""
    if choices := list(setting.choices):
        return f"{each}one of " + ", ".join(f"{quote}{choice}{quote}" for choice in choices)
    bounds = setting.bounds.removeprefix("of ").removeprefix("from ")
    return f"{each}{bounds}" if bounds else ""
