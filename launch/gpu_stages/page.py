"""The results as a page in Markdown and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from launch.gpu_stages.results import StageResults
from launch.gpu_stages.stages import Stage
from launch.text_tables import markdown_table, terminal_table

HEADER = ("stage", "shows", "result", "s", "figures")
NOT_RUN = "not run"


def page(stages: Sequence[Stage], results: StageResults) -> str:
    """Return the page of all `stages`."""
    machine = "\n".join(f"- {name}: {value}" for name, value in results.facts.items())
    return f"# GPU check\n\n{machine}\n\n{markdown_table(HEADER, _rows(stages, results))}"


def table(stages: Sequence[Stage], results: StageResults) -> Table:
    """Return the table of `stages`."""
    return terminal_table(HEADER, _rows(stages, results), title="GPU check")


def _rows(stages: Sequence[Stage], results: StageResults) -> Iterator[tuple[str, ...]]:
    for stage in stages:
        result = results.stages.get(stage.name)
        if result is None:
            yield stage.name, stage.shows, NOT_RUN, "", ""
            continue
        figures = [f"{name} {value}" for name, value in result.figures.items()]
        figures += [f"({stage.published})"] if figures and stage.published else []
        status = f"{result.status}: {result.why}" if result.why else result.status
        yield stage.name, stage.shows, status.replace("|", "/"), f"{result.seconds:.0f}", ", ".join(figures)
