"""Imports of large libraries."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Import in the block without the garbage collector, which does not search what was imported until the process exits.

    It would search all modules again and again: a fifth of the CPU time of importing vLLM, and then half a second in which a
    rollout actor stands still at each full collection.
    """
    collects, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:
            freeze_imports()
        if collects:
            gc.enable()


def freeze_imports() -> None:
    """Keep all modules imported so far out of the garbage collector's searches until the process exits."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # libraries report what is left as leaks
