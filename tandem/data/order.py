"""The problems of each training step: a pure function of the step, so that a resumed run continues exactly where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from random import Random
from typing import Protocol

import numpy as np

from tandem.config.schema import ConfigError
from tandem.rollout import Problem

PATIENCE = 10_000
"""The number of problems rejected in a row after which an endless source counts as exhausted."""

DrawProblem = Callable[[Random], Problem]
AcceptProblem = Callable[[Problem], bool]


class Sampler(Protocol):
    """Training problems by step."""

    def batch(self, step: int, size: int) -> list[Problem]:
        """Return the `size` distinct problems of training step `step` (from 0), which depend on step, seed and size alone."""
        ...


class Problems(Protocol):
    """A finite set of problems, such as a list or a `Catalogue`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Problem: ...


@dataclass(frozen=True)
class Shuffled:
    """A sampler of a finite set of problems, shuffled anew every epoch.

    Problems at the end of an epoch that do not fill a batch are left out of that epoch.
    """

    problems: Problems
    seed: int
    remedy: str = "give more problems"
    """the remedy for too few problems, besides fewer prompts"""

    def batch(self, step: int, size: int) -> list[Problem]:
        """Return the problems of training step `step`. Raises `ConfigError` when there are fewer than `size` problems."""
        count = len(self.problems)
        if size > count:
            raise ConfigError(
                f"rollout.prompts_per_step={size}: there are only {count} problems to train on; "
                f"ask for fewer prompts or {self.remedy}"
            )
        epoch, index = divmod(step, count // size)
        return [self.problems[i] for i in _order(self.seed, epoch, count)[index * size : (index + 1) * size].tolist()]


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return int64 [count], the order of an epoch's problems."""
    return np.array(Random(f"{seed}/{epoch}").sample(range(count), count))


@dataclass(frozen=True)
class Endless:
    """A sampler that draws new problems from an endless source for every step and keeps those that pass `accepts`."""

    draws: DrawProblem
    accepts: AcceptProblem
    seed: int

    def batch(self, step: int, size: int) -> list[Problem]:
        """Return the problems of training step `step`. Raises `ConfigError` as `stream` does."""
        return list(islice(stream(self.draws, self.accepts, f"{self.seed}/{step}"), size))


@dataclass(frozen=True)
class Untrainable:
    """The sampler of data that is for evaluation only: it has no batch."""

    key: str

    def batch(self, step: int, size: int) -> list[Problem]:
        """Raise `ConfigError`: these problems are not for training."""
        raise ConfigError(f"{self.key}: these problems are for evaluation only (data.evaluation_only); train on other data")


def stream(draws: DrawProblem, accepts: AcceptProblem, seed: str) -> Iterator[Problem]:
    """Yield distinct problems from an endless source. Raises `ConfigError` after `PATIENCE` rejected problems in a row."""
    random, seen, rejected = Random(seed), set(), 0
    while rejected < PATIENCE:
        problem = draws(random)
        if problem.id in seen or not accepts(problem):
            rejected += 1
            continue
        seen.add(problem.id)
        rejected = 0
        yield problem
    raise ConfigError(
        f"data.source: {PATIENCE} problems in a row could not be used, {len(seen)} before them could; "
        "raise data.max_prompt_tokens, or data.held_out_fraction if it is 0, or ask for fewer problems"
    )
