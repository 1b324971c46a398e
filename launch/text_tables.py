"""Tables of text, as Markdown and for the terminal, and the numbers in their cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from rich.table import Table

from tandem.measures.estimates import Estimate, SeedStatistics

Row = Sequence[str]


def markdown_table(header: Row, rows: Iterable[Row], *, escape: bool = False) -> str:
    """Return the table in Markdown. Cells are Markdown, or with `escape`, those of the rows are plain text."""
    rows = ([escaped(cell) for cell in row] for row in rows) if escape else rows
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, ["---"] * len(header), *rows])


def terminal_table(header: Row, rows: Iterable[Row], title: str | None = None, left: int | None = None) -> Table:
    """Return the table for the terminal; columns after the first `left`, if given, are right-aligned."""
    table = Table(title=title)
    for number, column in enumerate(header):
        table.add_column(column, justify="left" if left is None or number < left else "right")
    for row in rows:
        table.add_row(*row)
    return table


def escaped(text: str) -> str:
    """Return plain text as Markdown for a cell."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")


def number_cell(value: float | None) -> str:
    """Return a number with three decimals; empty for None."""
    return "" if value is None else f"{value:.3f}"


def seconds_cell(seconds: float | None) -> str:
    """Return a time in whole seconds; empty for None."""
    return "" if seconds is None else f"{seconds:.0f} s"


def seeds_cell(seeds: SeedStatistics | None, form: Callable[[float], str]) -> str:
    """Return the mean over seeds and the standard deviation, if there is one, each in a `form`; empty for None."""
    if seeds is None:
        return ""
    return form(seeds.mean) + ("" if seeds.deviation is None else f" ± {form(seeds.deviation)}")


def estimate_cell(value: Estimate | None, sign: str = "") -> str:
    """Return the value with half the width of its interval, or with both ends if they differ in distance."""
    if value is None:
        return ""
    if value.low is None or value.high is None:
        return f"{value.value:{sign}.3f}"
    below, above = f"{value.value - value.low:.3f}", f"{value.high - value.value:.3f}"
    if below == above:
        return f"{value.value:{sign}.3f} ± {above}"
    return f"{value.value:{sign}.3f} ({value.low:{sign}.3f} to {value.high:{sign}.3f})"


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, such as 1:02:03."""
    return str(timedelta(seconds=round(seconds)))
