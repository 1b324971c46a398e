"""The rows of a data set: whatever it is stored in, each is read by itself and describes one problem, or is malformed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from tandem.config import DataConfig
from tandem.rollout import Problem


class Rows(Protocol):
    """A data set that stays where it is stored."""

    key: str
    """the setting that names it, such as `data.path=FILE`"""
    unit: str
    """what its rows are called"""

    def scan(self) -> Iterator[tuple[int, int, Any]]:
        """Every row once: its number (from 1), its place, and what is stored there."""
        ...

    def at(self, place: int) -> Any:
        """What is stored at a place."""
        ...

    def record(self, stored: Any) -> Mapping[str, object]:
        """The fields of a row; raises `ValueError` saying what is wrong with it."""
        ...


def problem_of(record: Mapping[str, object], data: DataConfig) -> Problem:
    """The problem that a row describes; raises `ValueError` saying what is wrong with it.

    Its id is a hash of the question, white space aside: the same question is the same problem, whatever it is stored in.
    """
    question = _text(record, data.question_field, "data.question_field", numbers=False)
    answer = _text(record, data.answer_field, "data.answer_field", numbers=True)
    return Problem(id=question_id(hash64(" ".join(question.split()))), question=question, answer=answer)


def question_id(digest: int) -> str:
    """The id of the problem whose question hashes to `digest`."""
    return f"question/{digest:016x}"


def hash64(text: str) -> int:
    """A hash of `text` that is the same in every process, of 64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _text(record: Mapping[str, object], field: str, key: str, numbers: bool) -> str:
    """The non-empty text of a field; where `numbers` are allowed they become text."""
    if field not in record:
        raise ValueError(f"no field {field!r} ({key}); it has {', '.join(map(repr, record)) or 'none'}")
    value = record[field]
    if numbers and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"field {field!r} is empty")
    if not isinstance(value, str):
        raise ValueError(f"field {field!r} is not text{' or a number' * numbers}: {value!r:.40}")
    return value.strip()
