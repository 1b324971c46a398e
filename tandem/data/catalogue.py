"""A finite dataset, read once and then left on disk: 28 bytes of each problem stay in memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.rows import Rows, hash64, problem_of, question_id
from tandem.data.split import split_hash
from tandem.rollout import Problem
from tandem.verify.golds import UnreadableGold

CHUNK = 128
"""The number of rows whose prompts are tokenized together."""
ARRAYS = ("places", "digests", "split_hashes", "lengths")
"""The arrays of a catalogue, one entry for each problem."""
COUNTS = ("skipped", "unreadable", "read")
"""The numbers of rows that a catalogue counts."""
SHOWN_ERRORS = 10
"""The number of malformed rows that one message lists."""
MAX_UNREADABLE = 0.1
"""The largest share of unreadable golds. Above it, `data.answer_field` probably names the wrong field."""


@dataclass(frozen=True)
class Catalogue:
    """The N distinct problems of a dataset, in its order. Indexing reads the problem from disk."""

    rows: Rows
    data: DataConfig
    places: np.ndarray
    """int64 [N], the place of each problem in the dataset"""
    digests: np.ndarray
    """uint64 [N], the hash of each question"""
    split_hashes: np.ndarray
    """float64 [N], the hash of each problem's id, scaled to [0, 1), which decides its side of the split"""
    lengths: np.ndarray
    """int32 [N], the tokens of each prompt; the most of any reader"""
    skipped: int
    """the number of malformed rows left out"""
    unreadable: int
    """the number of rows left out because their gold holds no answer"""
    read: int
    """the number of all rows"""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Problem:
        """Read problem `index` from disk. Raises `RuntimeError` when the dataset has changed since it was first read."""
        try:
            problem = problem_of(self.rows.record(self.rows.at(int(self.places[index]))), self.data)
        except ValueError:
            problem = None
        if problem is None or problem.id != question_id(int(self.digests[index])):
            raise RuntimeError(f"{self.rows.key} has changed since the run began; restore it and resume the run")
        return problem

    @property
    def fits(self) -> np.ndarray:
        """Return bool [N], whether the prompt is short enough for every reader."""
        return self.lengths <= self.data.max_prompt_tokens

    @property
    def ids(self) -> list[str]:
        """Return the ids of all problems, without reading the problems."""
        return [question_id(digest) for digest in self.digests.tolist()]

    def where(self, chosen: np.ndarray) -> Catalogue:
        """Return the problems that `chosen` selects: a mask, bool [N], or indices, whose order is kept."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in ARRAYS})


Lengths = Callable[[Sequence[Problem]], Sequence[int | ValueError]]
"""Returns the tokens of each problem's prompt, or the error that its messages raise."""


def catalogue(rows: Rows, data: DataConfig, lengths_of: Lengths) -> Catalogue:
    """Read all rows once and return the distinct problems.

    A row is malformed when it describes no problem, when its messages make no prompt, or when it repeats a question with
    another answer. `data.on_bad_line=skip` leaves such rows out. Rows whose gold holds no answer are left out and counted.

    Raises `ConfigError` for malformed rows that are not to be skipped and for too many unreadable golds; the message lists the
    first `SHOWN_ERRORS` by number. Raises it also when there is no problem at all, or when a row contradicts the configuration.
    """
    columns = _read_columns(rows, data, lengths_of)
    _, first, question = np.unique(columns.digests, return_index=True, return_inverse=True)
    _mark_contradictions(columns, first[question], rows, data)
    _check(columns, rows, data)
    return _build(columns, np.sort(first), rows, data)


@dataclass(frozen=True)
class _Columns:
    """The R rows of a dataset that describe a problem, and what was left out."""

    places: np.ndarray
    """int64 [R]"""
    numbers: np.ndarray
    """int64 [R], by which messages name the rows"""
    digests: np.ndarray
    """uint64 [R], the hash of each question"""
    answers: np.ndarray
    """uint64 [R], the hash of each answer"""
    lengths: np.ndarray
    """int32 [R], the tokens of each prompt"""
    malformed: _Malformed
    unreadable: _Malformed
    read: int
    """the number of all rows"""


def _read_columns(rows: Rows, data: DataConfig, lengths_of: Lengths) -> _Columns:
    """Read all rows. Raises `ConfigError` when one contradicts the configuration."""
    places, numbers, digests, answers, lengths = array("q"), array("q"), array("Q"), array("Q"), array("i")
    malformed, unreadable = _Malformed(rows.unit), _Malformed(rows.unit)
    row_count = 0
    for number, place, described in _described(rows, data, lengths_of):
        row_count += 1
        match described:
            case ConfigError():
                raise ConfigError(f"{described} ({rows.key}, {rows.unit} {number})") from described
            case UnreadableGold():
                unreadable.add(number, str(described))
                continue
            case Exception():
                malformed.add(number, str(described))
                continue
        problem, tokens = described
        places.append(place)
        numbers.append(number)
        digests.append(int(problem.id.rpartition("/")[2], 16))
        answers.append(hash64(problem.answer))
        lengths.append(tokens)
    return _Columns(
        places=np.array(places, np.int64),
        numbers=np.array(numbers, np.int64),
        digests=np.array(digests, np.uint64),
        answers=np.array(answers, np.uint64),
        lengths=np.array(lengths, np.int32),
        malformed=malformed,
        unreadable=unreadable,
        read=row_count,
    )


def _mark_contradictions(columns: _Columns, first: np.ndarray, rows: Rows, data: DataConfig) -> None:
    """Count the rows as malformed whose answer is not that of the first row with the same question, `first`, int64 [R]."""
    for index in np.flatnonzero(columns.answers != columns.answers[first]).tolist():
        earlier = int(first[index])
        other, one = (problem_of(rows.record(rows.at(int(columns.places[i]))), data).answer for i in (index, earlier))
        repeated = f"the question of {rows.unit} {columns.numbers[earlier]}"
        columns.malformed.add(int(columns.numbers[index]), f"{repeated} with another answer ({other}, not {one})")


def _check(columns: _Columns, rows: Rows, data: DataConfig) -> None:
    """Raise `ConfigError` for malformed rows that are not to be skipped, too many unreadable golds, and no problem at all."""
    malformed, unreadable = columns.malformed, columns.unreadable
    if malformed.count and data.on_bad_line != "skip":
        raise ConfigError(
            f"{rows.key}: malformed {rows.unit}s: {malformed.count}; correct or remove them, or set data.on_bad_line=skip\n"
            f"{malformed.shown()}"
        )
    well_formed = len(columns.places) + unreadable.count
    if unreadable.count > MAX_UNREADABLE * well_formed:
        raise ConfigError(
            f"data.answer_field={data.answer_field}: no answer can be read in the golds of {unreadable.count} of "
            f"{well_formed} {rows.unit}s of {rows.key}; name another field, or say with data.answer_pattern "
            f"where the answer stands in it, or name a data.verifier that judges by such golds\n{unreadable.shown()}"
        )
    if not len(columns.places):
        skipped = f" ({malformed.count} malformed {rows.unit}s were skipped)\n{malformed.shown()}" if malformed.count else ""
        raise ConfigError(f"{rows.key}: it holds no problem{skipped}")


def _build(columns: _Columns, chosen: np.ndarray, rows: Rows, data: DataConfig) -> Catalogue:
    """Return the catalogue of the rows `chosen`, int64 [N]."""
    digests = columns.digests[chosen]
    return Catalogue(
        rows,
        data,
        places=columns.places[chosen],
        digests=digests,
        split_hashes=np.array([split_hash(question_id(digest)) for digest in digests.tolist()]),
        lengths=columns.lengths[chosen],
        skipped=columns.malformed.count,
        unreadable=columns.unreadable.count,
        read=columns.read,
    )


def _described(
    rows: Rows, data: DataConfig, lengths_of: Lengths
) -> Iterator[tuple[int, int, tuple[Problem, int] | ValueError]]:
    """Yield number and place of every row, and its problem with the tokens of the prompt, or the error that it raises."""
    scan = rows.scan()
    while chunk := list(islice(scan, CHUNK)):
        problems = [_problem_or_error(rows, stored, data) for _, _, stored in chunk]
        lengths = iter(lengths_of([problem for problem in problems if isinstance(problem, Problem)]))
        for (number, place, _), problem in zip(chunk, problems, strict=True):
            if isinstance(problem, Problem):
                tokens = next(lengths)
                yield number, place, (problem, tokens) if isinstance(tokens, int) else tokens
            else:
                yield number, place, problem


def _problem_or_error(rows: Rows, stored: Any, data: DataConfig) -> Problem | ValueError:
    try:
        return problem_of(rows.record(stored), data)
    except (ConfigError, ValueError) as error:
        return error


@dataclass
class _Malformed:
    """The number of malformed rows, and the reasons of the first `SHOWN_ERRORS`."""

    unit: str
    count: int = 0
    _first: list[tuple[int, str]] = field(default_factory=list)

    def add(self, number: int, reason: str) -> None:
        self.count += 1
        self._first = sorted([*self._first, (number, reason)])[:SHOWN_ERRORS]

    def shown(self) -> str:
        lines = (f"  {self.unit} {number}: {reason}" for number, reason in self._first)
        more = [f"  and {self.count - SHOWN_ERRORS} more"] * (self.count > SHOWN_ERRORS)
        return "\n".join([*lines, *more])
