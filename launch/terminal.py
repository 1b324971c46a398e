"""The terminal that every program prints to."""

from __future__ import annotations

from typing import Any

from rich.console import Console


def terminal_console(**options: Any) -> Console:
    """Return a console, with rich's `options`, that prints text as it is: brackets, as in `junior=[self]`, are no markup."""
    return Console(markup=False, highlight=False, **options)
