"""Imports of large libraries."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Import in the block without the garbage collector, which never searches what exists at the end of the block.

    It would search all modules again and again: a fifth of the CPU time of importing vLLM, and then half a second in which a
    rollout actor stands still at each full collection.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
