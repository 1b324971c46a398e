"""Writes docs/reference/configuration.md from tandem/config/schema.py. `python -m tools.config_reference`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tandem.config import schema
from tandem.config.checks.bounds import CHOICES, LONGEST_S, POSITIVE, RANGES, SECONDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "configuration.md"
HEAD = """# Configuration reference

Every key, its type, its default in `tandem/config/schema.py` and what it means. Files in `conf/` set other values: see
[configuration](../configuration.md). This page is written by `python -m tools.config_reference`.
"""


@dataclass(frozen=True)
class Field:
    """One field of a configuration class, as its source says it."""

    name: str
    type: str
    default: str
    meaning: str


def page() -> str:
    """The whole page."""
    classes = {node.name: node for node in _source().body if isinstance(node, ast.ClassDef)}
    return HEAD + "".join(_section(classes, "Config", ""))


def _source() -> ast.Module:
    return ast.parse(Path(schema.__file__).read_text(encoding="utf-8"))


def _section(classes: dict[str, ast.ClassDef], name: str, prefix: str) -> Iterator[str]:
    """The table of one class, then those of the classes inside it."""
    node = classes[name]
    fields = list(_fields(node))
    title = prefix.removesuffix(".") or "The run"
    yield f"\n## {title}\n\n{ast.get_docstring(node)}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
    for field in fields:
        if field.type not in classes:
            yield f"| `{prefix}{field.name}` | {field.type} | {field.default} | {_cell(prefix + field.name, field.meaning)} |\n"
    for field in fields:
        if field.type in classes:
            yield from _section(classes, field.type, f"{prefix}{field.name}.")


def _fields(node: ast.ClassDef) -> Iterator[Field]:
    """The annotated fields, each with the string below it."""
    for statement, below in pairwise([*node.body, ast.Pass()]):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                meaning = ""
                if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                    meaning = " ".join(str(below.value.value).split())
                yield Field(name, ast.unparse(statement.annotation), _default(statement.value), meaning)


def _default(value: ast.expr | None) -> str:
    match value:
        case None | ast.Name(id="MISSING"):
            return "to be set"
        case ast.Call(keywords=[ast.keyword(arg="default_factory", value=ast.Lambda(body=body))]):
            return f"`{ast.unparse(body)}`".replace("SELF", "'self'")
        case ast.Call(keywords=[ast.keyword(arg="default_factory", value=ast.Name(id=name))]):
            return {"list": "`[]`", "dict": "`{}`"}.get(name, "")
        case _:
            return f"`{ast.unparse(value)}`"


def _cell(key: str, meaning: str) -> str:
    """The meaning and what is checked, as the cell of a table."""
    bounds = next(((low, high) for name, low, high in RANGES if name == key), None)
    checked = []
    if key in CHOICES:
        checked.append("one of " + ", ".join(f"`{choice}`" for choice in CHOICES[key]))
    if bounds:
        checked.append(f"at least {bounds[0]:g}" if bounds[1] == float("inf") else f"{bounds[0]:g} to {bounds[1]:g}")
    if key in POSITIVE:
        checked.append("above 0")
    if key in SECONDS:
        checked.append(f"above 0, at most {LONGEST_S:,} seconds")
    return "; ".join([part for part in (meaning, *checked) if part]).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
