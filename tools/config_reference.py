"""Write docs/reference/configuration.md from the configuration classes. `python -m tools.config_reference`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import get_args, get_type_hints

from launch.text_tables import markdown_table
from tandem.config.schema import SETTINGS, Config
from tandem.config.setting import Setting

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "configuration.md"
HEAD = """# Configuration reference

Every key, its type, its default in `tandem/config/` and what it means. Files in `conf/` set other values: see
[configuration](../configuration.md). This page is written by `python -m tools.config_reference`.
"""


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(_section(Config, ""))


def _section(section: type, prefix: str) -> Iterator[str]:
    """Yield the table of a configuration class, then those of the classes inside it."""
    types = get_type_hints(section)
    inner = [field.name for field in fields(section) if is_dataclass(types[field.name])]
    title = prefix.removesuffix(".") or "The run"
    yield f"\n## {title}\n\n{inspect.getdoc(section)}\n\n"
    rows = []
    for name, (statement, meaning) in _declarations(section).items():
        if name not in inner:
            key, kind = prefix + name, ast.unparse(statement.annotation)
            cell = "; ".join(filter(None, (meaning, allowed(SETTINGS[key])))).replace("|", r"\|")
            rows.append((f"`{key}`", kind, _default(statement.value), cell))
    yield markdown_table(("key", "type", "default", "meaning"), rows)
    for name in inner:
        yield from _section(types[name], f"{prefix}{name}.")


def _declarations(section: type) -> dict[str, tuple[ast.AnnAssign, str]]:
    """Return the statement that declares each field, and the text below it."""
    (node,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(node, ast.ClassDef)
    found: dict[str, tuple[ast.AnnAssign, str]] = {}
    for statement, below in pairwise([*node.body, ast.Pass()]):
        match statement, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = (statement, " ".join(text.split()))
            case ast.AnnAssign(target=ast.Name(id=name)), _:
                found[name] = (statement, "")
    return found


def _default(value: ast.expr | None) -> str:
    """Return the default as the source spells it."""
    match value:
        case ast.Call(func=ast.Name(id="setting" | "wait"), args=[default, *_]):
            return _default(default)
        case None | ast.Name(id="MISSING"):
            return "to be set"
        case _:
            return f"`{ast.unparse(value)}`".replace("SELF", "'self'")


def allowed(setting: Setting) -> str:
    """Return the choices or bounds of a setting, as the end of a table's cell."""
    each = "each " if get_args(setting.type)[:1] else ""
    if choices := list(setting.choices):
        return f"{each}one of " + ", ".join(f"`{choice}`" for choice in choices)
    bounds = setting.bounds.removeprefix("of ").removeprefix("from ")
    return f"{each}{bounds}" if bounds else ""


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
