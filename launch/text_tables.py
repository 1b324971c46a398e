"""Tables of text, as Markdown and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table

Row = Sequence[str]


def markdown_table(header: Row, rows: Iterable[Row]) -> str:
    """Return the table in Markdown; cells are taken as Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, ["---"] * len(header), *rows])


def terminal_table(header: Row, rows: Iterable[Row], title: str | None = None, left: int | None = None) -> Table:
    """Return the table for the terminal; columns after the first `left`, if given, are right-aligned."""
    table = Table(title=title)
    for number, column in enumerate(header):
        table.add_column(column, justify="left" if left is None or number < left else "right")
    for row in rows:
        table.add_row(*row)
    return table
