"""The error of a model that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UnusableModel(Exception):
    """A model cannot be used. The message holds reason and remedy, but not the configuration key."""


@contextmanager
def refusing(what: str, remedy: str) -> Iterator[None]:
    """Convert any error of a library on a damaged or unknown file to `UnusableModel`: `what`, the error, `remedy`.

    Only for calls into transformers, tokenizers and pickle. They check few values of a user's files, and raise errors of any
    class: `KeyError`, `ZeroDivisionError`, plain `Exception` from Rust.
    """
    try:
        yield
    except UnusableModel:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UnusableModel(f"{what}: {type(error).__name__}: {reason:.300}; {remedy}") from error
