"""The reason why a model cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UnusableModel(Exception):
    """A model cannot be used; the message says why and what helps, without the key that named the model."""


@contextmanager
def refusing(what: str, remedy: str) -> Iterator[None]:
    """Turn what a library raises on a damaged or unknown file into `UnusableModel`: `what`, the error, `remedy`.

    For calls into transformers, tokenizers and pickle only. They parse files of a user, check few of the values, and raise
    whatever their code meets: `KeyError`, `ZeroDivisionError`, plain `Exception` from Rust.
    """
    try:
        yield
    except UnusableModel:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UnusableModel(f"{what}: {type(error).__name__}: {reason:.300}; {remedy}") from error
