"""Which problems a training step gets: a pure function of the step, so that a resumed run goes on exactly where it stopped."""

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
"""Problems rejected in a row before an endless source is given up."""

Draws = Callable[[Random], Problem]
Accepts = Callable[[Problem], bool]


class Sampler(Protocol):
    """Training problems by step."""

    def batch(self, step: int, size: int) -> list[Problem]:
        """The `size` different problems of training step `step` (from 0).

        They depend on step, seed and size alone.
        """
        ...


class Problems(Protocol):
    """A finite set of problems, such as a list or a `Catalogue`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Problem: ...


@dataclass(frozen=True)
class Shuffled:
    """A finite set of problems, in a new order every epoch.

    The last problems of an epoch that do not fill a batch wait for the next one, whose order is another.
    """

    problems: Problems
    seed: int
    remedy: str = "give more problems"
    """what besides asking for fewer prompts helps where there are too few problems"""

    def batch(self, step: int, size: int) -> list[Problem]:
        """See `Sampler`. Raises `ConfigError` when there are fewer than `size` problems."""
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
    """int64 [count], the order of an epoch's problems."""
    return np.array(Random(f"{seed}/{epoch}").sample(range(count), count))


@dataclass(frozen=True)
class Endless:
    """Fresh problems of an endless source for every step: those that `accepts` lets through."""

    draws: Draws
    accepts: Accepts
    seed: int

    def batch(self, step: int, size: int) -> list[Problem]:
        """See `Sampler`. Raises `ConfigError` as `stream` does."""
        return list(islice(stream(self.draws, self.accepts, f"{self.seed}/{step}"), size))


@dataclass(frozen=True)
class Untrainable:
    """The training side of problems that are for evaluation only."""

    key: str

    def batch(self, step: int, size: int) -> list[Problem]:
        """See `Sampler`. Raises `ConfigError`."""
        raise ConfigError(f"{self.key}: these problems are for evaluation only (data.evaluation_only); train on other data")


def stream(draws: Draws, accepts: Accepts, seed: str) -> Iterator[Problem]:
    """Different problems of an endless source, for ever. Raises `ConfigError` when it seems to have no more."""
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
