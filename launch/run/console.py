"""The terminal of a run or an evaluation: progress bars, a live table of the last steps, messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from launch.text_tables import terminal_table

COLUMNS = {
    "step": ("step", "{:.0f}"),
    "reward/mean": ("reward", "{:.3f}"),
    "solo/accuracy": ("solo acc.", "{:.3f}"),
    "tandem/senior_token_fraction": ("senior share", "{:.3f}"),
    "tandem/handoffs_per_rollout": ("handoffs", "{:.1f}"),
    "rollout/tokens_per_s": ("tokens/s", "{:.0f}"),
    "policy/clip_fraction": ("clipped", "{:.3f}"),
    "policy/entropy": ("entropy", "{:.3f}"),
    "grad/norm": ("grad norm", "{:.2f}"),
    "logprob/gap_mean": ("gap", "{:.1e}"),
    "time/step_s": ("s/step", "{:.1f}"),
}
ROWS = 12
"""The number of steps in the live table."""
PLAIN_EVERY = 5
"""Without a terminal, one step in `PLAIN_EVERY` is printed."""


class TrainingConsole:
    """The live view of a run of `steps` steps, or plain lines without a terminal. A context manager."""

    def __init__(self, steps: int) -> None:
        self.console = Console()
        self._steps = steps
        self._rows: deque[Mapping[str, float]] = deque(maxlen=ROWS)
        self._bar = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._training = self._bar.add_task("training", total=steps)
        self._live = Live(console=self.console, refresh_per_second=4, transient=True) if self.console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
            if error is None:
                self.console.print(self._table())

    def print(self, message: str) -> None:
        """Print one line above the live view."""
        self.console.print(message, highlight=False, soft_wrap=True)

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
        self._rows.append(row)
        step = int(row["step"])
        self._bar.update(self._training, completed=step)
        self._refresh()
        if not self._live and (step % PLAIN_EVERY == 0 or "solo/accuracy" in row or self._steps <= 2 * PLAIN_EVERY):
            cells = [f"{title} {form.format(row[key])}" for key, (title, form) in COLUMNS.items() if key in row]
            self.print(f"[{step}/{self._steps}] " + "  ".join(cells[1:]))

    def _refresh(self) -> None:
        if self._live:
            self._live.update(Group(self._table(), self._bar))

    def _table(self) -> Table:
        rows = ([form.format(row[key]) if key in row else "" for key, (_, form) in COLUMNS.items()] for row in self._rows)
        return terminal_table([title for title, _ in COLUMNS.values()], rows, left=0)


class EvaluationConsole:
    """The terminal of an evaluation: a progress bar, and lines above it. A context manager."""

    def __init__(self) -> None:
        self._bars = Progress(transient=True)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bars.stop()

    def print(self, shown: str | Table) -> None:
        """Print a line or a table above the bar."""
        self._bars.console.print(shown, highlight=False, soft_wrap=isinstance(shown, str))

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[object], None]]:
        """Show a bar in the block, for `total` parts; yield a function to call for each finished part."""
        task = self._bars.add_task(what, total=total)
        yield lambda _: self._bars.advance(task)
        self._bars.remove_task(task)
