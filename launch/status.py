"""The line that says what a program waits for, and for how long that usually takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from launch.terminal import terminal_console
from tandem.runtime.imports import without_collection

IMPORTS = "5 to 10 s"
"""How long the imports of torch, transformers, Ray and vLLM's interfaces usually take."""
INPUTS = "2 to 5 s if they are in the cache"
"""How long the models' files and the data usually take to be read and checked."""
ENGINES, LEARNER = "under a minute on a CPU", "10 to 15 s on a CPU"
"""How long engines and the learner of a small model usually take to start."""


def usual_start(duration: str, *, on_gpus: bool) -> str:
    """Return the usual `duration` of a start, if it is known: on CPUs."""
    return "" if on_gpus else duration


@contextmanager
def importing() -> Iterator[None]:
    """Show that torch and Ray are imported in the block, and import them without the garbage collector."""
    with status("Importing torch and Ray", IMPORTS), without_collection():
        yield


@contextmanager
def status(what: str, usual: str = "", console: Console | None = None) -> Iterator[None]:
    """Show `what` during the block: in a terminal with a spinner and the elapsed time, else as one line at the start.

    `usual` is the usual duration. In a terminal a line with the duration remains.
    """
    console = console or terminal_console()
    hint = f" (usually {usual})" if usual else ""
    if not console.is_terminal:
        console.print(f"{what}{hint} ...", soft_wrap=True)
        yield
        return
    start = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(f"{what}{hint}", total=None)
        yield
    console.print(f"{what}: {time.monotonic() - start:.1f} s", soft_wrap=True)
