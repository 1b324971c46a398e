"""Write docs/reference/configuration.md from the configuration classes. `python -m tools.config_reference`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

from launch.text_tables import markdown_table
from tandem.config.documentation import allowed, declarations
from tandem.config.schema import SETTINGS, Config

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
    for name, field in declarations(section).items():
        if name not in inner:
            key, default = prefix + name, f"`{field.default}`" if field.default else "to be set"
            cell = "; ".join(filter(None, (field.meaning, allowed(SETTINGS[key], "`")))).replace("|", r"\|")
            rows.append((f"`{key}`", field.type, default, cell))
    yield markdown_table(("key", "type", "default", "meaning"), rows)
    for name in inner:
        yield from _section(types[name], f"{prefix}{name}.")


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
