"""The comparison of single expressions, and logic with results that only algebra can decide.

A result is True, False, or None if it is unknown without algebra.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Leaf(Protocol):
    """Comparison of two texts that are expressions, matrices or regions of numbers."""

    def __call__(self, gold: str, answer: str, roughly: bool = False) -> bool | None:
        """Return whether the texts are equivalent; `roughly` allows one to approximate the other."""


def all_of(results: Iterable[bool | None]) -> bool | None:
    """Return `all(results)`, or None if no result is False and one is None."""
    unknown = False
    for result in results:
        if result is False:
            return False
        unknown |= result is None
    return None if unknown else True


def any_of(results: Iterable[bool | None]) -> bool | None:
    """Return `any(results)`, or None if no result is True and one is None."""
    unknown = False
    for result in results:
        if result:
            return True
        unknown |= result is None
    return None if unknown else False
