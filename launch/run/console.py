"""The terminal of a run or an evaluation: progress bars, a live table of the last steps, transcripts, messages."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from launch.live_view.colored import colored_transcript
from launch.terminal import terminal_console
from launch.text_tables import clock, terminal_table
from tandem.measures.estimates import share
from tandem.measures.names import ACCURACY, PROBLEM_COUNT
from tandem.records.transcript import Transcript

COLUMNS = {
    "step": ("step", "{:.0f}"),
    "reward/mean": ("reward", "{:.3f}"),
    ACCURACY: ("solo acc.", "{:.3f}"),
    "tandem/senior_token_fraction": ("senior share", "{:.3f}"),
    "tandem/handoffs_per_rollout": ("handoffs", "{:.1f}"),
    "rollout/tokens_per_s": ("tokens/s", "{:.0f}"),
    "time/generate_s": ("write", "{:.1f}"),
    "time/update_s": ("learn", "{:.1f}"),
    "time/publish_s": ("sync", "{:.1f}"),
    "time/step_s": ("s/step", "{:.1f}"),
}
LEFT = "left"
"""The title of the estimated time to the end."""
ROWS = 12
"""The number of steps in the live table."""
PLAIN_EVERY = 5
"""Without a terminal, one step in `PLAIN_EVERY` is printed."""


class TrainingConsole:
    """The live view of a run of `steps` steps, or plain lines without a terminal. A context manager."""

    def __init__(self, steps: int) -> None:
        self.console = terminal_console()
        self._steps = steps
        self._rows: deque[list[str]] = deque(maxlen=ROWS)
        self._first: tuple[int, float] | None = None
        """the first step that was shown, and when"""
        self._bar = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._training = self._bar.add_task("training", total=steps, start=False)
        self._live = Live(console=self.console, refresh_per_second=4, transient=True) if self.console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
            if self._rows and (error is None or isinstance(error, KeyboardInterrupt)):
                self.console.print(self._table())

    def print(self, message: str) -> None:
        """Print one line above the live view."""
        self.console.print(message, soft_wrap=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[object], None]]:
        """Show a second bar in the block, for `total` parts; yield a function to call for each finished part."""
        task = self._bar.add_task(what, total=total)

        def advance(_: object) -> None:
            self._bar.advance(task)
            self._refresh()

        try:
            yield advance
        finally:
            self._bar.remove_task(task)

    def row(self, row: Mapping[str, float]) -> None:
        """Show one step's metrics."""
        step = int(row["step"])
        if self._first is None:
            self._first = (step, time.monotonic())
            self._bar.start_task(self._training)
        cells = [*_cells(row), self._left(step)]
        self._rows.append(cells)
        self._bar.update(self._training, completed=step)
        self._refresh()
        if not self._live and (step % PLAIN_EVERY == 0 or ACCURACY in row or self._steps <= 2 * PLAIN_EVERY):
            texts = [f"{title} {cell}" for title, cell in zip(self._titles(), cells, strict=True) if cell]
            self.print(f"[{step}/{self._steps}] " + "  ".join(texts[1:]))

    def transcripts(self, samples: Sequence[Transcript]) -> None:
        """Print transcripts, with the authors in colors or, without a terminal, with the junior's words in braces."""
        for sample in samples:
            self.console.print(colored_transcript(sample, marks=not self._live), soft_wrap=True)

    def _left(self, step: int) -> str:
        """Return the estimated time to the end: all steps and evaluations since the first step shown took as long."""
        assert self._first is not None
        first, began = self._first
        if step == first or step >= self._steps:
            return ""
        return clock((time.monotonic() - began) / (step - first) * (self._steps - step))

    def _refresh(self) -> None:
        if self._live:
            self._live.update(Group(self._table(), self._bar))

    def _table(self) -> Table:
        return terminal_table(self._titles(), self._rows, left=0)

    @staticmethod
    def _titles() -> list[str]:
        return [*(title for title, _ in COLUMNS.values()), LEFT]


def _cells(row: Mapping[str, float]) -> list[str]:
    """Return a step's metrics as text; the accuracy with its 95 % interval, if the number of problems is known."""
    cells = [form.format(row[key]) if key in row else "" for key, (_, form) in COLUMNS.items()]
    if ACCURACY in row:
        cells[list(COLUMNS).index(ACCURACY)] = interval(row)
    return cells


def interval(row: Mapping[str, float]) -> str:
    """Return the accuracy of a row with its 95 % Wilson interval, if the number of problems is known."""
    estimate = share(row[ACCURACY], row.get(PROBLEM_COUNT))
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


class EvaluationConsole:
    """The terminal of an evaluation: a progress bar, and lines above it."""

    def __init__(self) -> None:
        self._bars = Progress(transient=True, console=terminal_console())

    def print(self, content: str | Table) -> None:
        """Print a line or a table above the bar."""
        self._bars.console.print(content, soft_wrap=isinstance(content, str))

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[object], None]]:
        """Show a bar in the block, for `total` parts; yield a function to call for each finished part."""
        with self._bars:
            task = self._bars.add_task(what, total=total)
            yield lambda _: self._bars.advance(task)
            self._bars.remove_task(task)
