"""A finite data set that is read once and then left where it is: what stays in memory of a problem is 28 bytes."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.rows import Rows, hash64, problem_of, question_id
from tandem.data.split import position
from tandem.rollout import Problem
from tandem.verify.golds import UnreadableGold

SHOWN_ERRORS = 10
"""How many malformed rows one message spells out."""
MAX_UNREADABLE = 0.1
"""A data set of which a larger share of the golds cannot be read is refused: its answers are not where it was said."""


@dataclass(frozen=True)
class Catalogue:
    """The N different problems of a data set, in its order; each is read anew when it is asked for."""

    rows: Rows
    data: DataConfig
    places: np.ndarray
    """int64 [N], where in the data set each lies"""
    digests: np.ndarray
    """uint64 [N], the hash of each question"""
    positions: np.ndarray
    """float64 [N], where in [0, 1) the split puts each"""
    lengths: np.ndarray
    """int32 [N], the tokens of each one's prompt, for the reader for whom it has most"""
    skipped: int
    """malformed rows left out"""
    unreadable: int
    """rows left out because no answer can be read in their gold"""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Problem:
        """Raises `RuntimeError` when the data set is no longer what it was when it was read."""
        try:
            problem = problem_of(self.rows.record(self.rows.at(int(self.places[index]))), self.data)
        except ValueError:
            problem = None
        if problem is None or problem.id != question_id(int(self.digests[index])):
            raise RuntimeError(f"{self.rows.key} has changed since the run began")
        return problem

    @property
    def fits(self) -> np.ndarray:
        """bool [N], whether no reader's prompt is too long"""
        return self.lengths <= self.data.max_prompt_tokens

    @property
    def ids(self) -> list[str]:
        """The problems' ids, for which none is read."""
        return [question_id(digest) for digest in self.digests.tolist()]

    def where(self, chosen: np.ndarray) -> Catalogue:
        """The problems for which `chosen` (bool [N]) holds, or those at its indices, in that order."""
        arrays = ("places", "digests", "positions", "lengths")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})


def catalogue(rows: Rows, data: DataConfig, length: Callable[[Problem], int]) -> Catalogue:
    """Reads all rows once. A question that occurs again counts once. `length` gives the tokens of a problem's prompt.

    Malformed rows are those that describe no problem, those of whose messages no prompt can be made, and those that repeat a
    question with another answer. Raises `ConfigError` when there are any, unless `data.on_bad_line` says to skip them: the
    first ten are named by number, with what is wrong. Rows in whose gold no answer can be read are left out and counted; when
    they are a good part of all, it raises `ConfigError` that names them likewise. Raises it when there is no problem at all,
    and when the configuration contradicts a row.
    """
    places, numbers, digests, answers, lengths = array("q"), array("q"), array("Q"), array("Q"), array("i")
    malformed, unreadable = _Malformed(rows.unit), _Malformed(rows.unit)
    for number, place, stored in rows.scan():
        try:
            problem = problem_of(rows.record(stored), data)
            tokens = length(problem)
        except ConfigError as error:
            raise ConfigError(f"{error} ({rows.key}, {rows.unit} {number})") from error
        except UnreadableGold as error:
            unreadable.add(number, str(error))
            continue
        except ValueError as error:
            malformed.add(number, str(error))
            continue
        places.append(place)
        numbers.append(number)
        digests.append(int(problem.id.rpartition("/")[2], 16))
        answers.append(hash64(problem.answer))
        lengths.append(tokens)

    unique, first, which = np.unique(np.array(digests, np.uint64), return_index=True, return_inverse=True)
    contrary = np.flatnonzero(np.array(answers, np.uint64) != np.array(answers, np.uint64)[first][which])
    for index in contrary.tolist():
        known = int(first[which[index]])
        other, one = (problem_of(rows.record(rows.at(places[i])), data).answer for i in (index, known))
        malformed.add(numbers[index], f"the question of {rows.unit} {numbers[known]} with another answer ({other}, not {one})")

    if malformed.count and data.on_bad_line != "skip":
        raise ConfigError(
            f"{rows.key}: malformed {rows.unit}s: {malformed.count}; correct or remove them, or set data.on_bad_line=skip\n"
            f"{malformed.shown()}"
        )
    if unreadable.count > MAX_UNREADABLE * (len(places) + unreadable.count):
        raise ConfigError(
            f"data.answer_field={data.answer_field}: no answer can be read in the golds of {unreadable.count} of "
            f"{len(places) + unreadable.count} {rows.unit}s of {rows.key}; name another field, or say with data.answer_pattern "
            f"where the answer stands in it, or name a data.verifier that judges by such golds\n{unreadable.shown()}"
        )
    if not len(unique):
        skipped = f" ({malformed.count} malformed {rows.unit}s were skipped)\n{malformed.shown()}" if malformed.count else ""
        raise ConfigError(f"{rows.key}: it holds no problem{skipped}")
    in_order = np.sort(first)
    digests_in_order = np.array(digests, np.uint64)[in_order]
    return Catalogue(
        rows,
        data,
        np.array(places, np.int64)[in_order],
        digests_in_order,
        np.array([position(question_id(digest)) for digest in digests_in_order.tolist()]),
        np.array(lengths, np.int32)[in_order],
        malformed.count,
        unreadable.count,
    )


@dataclass
class _Malformed:
    """The malformed rows of a data set: all are counted, the first few are kept with what is wrong."""

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
