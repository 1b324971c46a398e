"""The problems of a run: what a training step gets, and what is held out for evaluation.

Which side of the split a problem falls on depends on a hash of its id alone: no seed, file order or later run changes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Protocol

from tandem.config import ConfigError, DataConfig
from tandem.data.arith import draw
from tandem.data.jsonl import read_jsonl
from tandem.data.prompts import prompt
from tandem.rollout import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ARITH_RESERVED = 0.5
"""The fraction of the offline task that the base models of `tandem.zoo` never saw: no more of it can be held out."""
_PATIENCE = 10_000
"""Problems rejected in a row before an endless source is given up."""

Accepts = Callable[[Problem], bool]


class Sampler(Protocol):
    """Training problems by step."""

    def batch(self, step: int, size: int) -> list[Problem]:
        """The `size` different problems of training step `step` (from 0).

        They depend on step, seed and size alone, so that a resumed run goes on exactly where it stopped.
        """
        ...


@dataclass(frozen=True)
class ProblemSet:
    """A run's problems, from `load_problems`."""

    train: Sampler
    dropped: int
    """problems left out because a reader's prompt is too long (always 0 for an endless source)"""
    _held_out: Callable[[], Iterator[Problem]]

    def held_out(self, count: int) -> list[Problem]:
        """The first `count` held-out problems, in an order that is the same for every run; all of them if there are fewer."""
        return list(islice(self._held_out(), count))


def held_out(problem: Problem, fraction: float) -> bool:
    """Whether a problem is among the `fraction` that is held out: a hash of its id decides."""
    return _position(problem) < fraction


def load_problems(
    data: DataConfig,
    seed: int,
    tokenizer: PreTrainedTokenizerBase | None = None,
    junior_tokenizers: Mapping[int, PreTrainedTokenizerBase] | None = None,
) -> ProblemSet:
    """The problems that `data` describes, shuffled by `seed`.

    With the tokenizers that `encode` will be given, problems whose prompt exceeds `data.max_prompt_tokens` for any of them are
    left out on both sides, so that every batch holds as many prompts as were asked for. Raises `ConfigError` when the data
    cannot be used.
    """
    if not 0 <= data.held_out_fraction < 1:
        raise ConfigError(f"data.held_out_fraction={data.held_out_fraction}: give a number from 0 to below 1")

    readers = [reader for reader in (tokenizer, *(junior_tokenizers or {}).values()) if reader]

    def fits(problem: Problem) -> bool:
        return all(len(prompt(problem, reader, data).token_ids) <= data.max_prompt_tokens for reader in readers)

    match data.source:
        case "arith":
            return _arith(data, seed, fits)
        case "jsonl":
            return _jsonl(data, seed, fits)
    raise ConfigError(f"data.source={data.source}: choose arith or jsonl")


@dataclass(frozen=True)
class Shuffled:
    """A finite set of problems, in a new order every epoch.

    The last problems of an epoch that do not fill a batch wait for the next one, whose order is another.
    """

    problems: list[Problem]
    seed: int

    def batch(self, step: int, size: int) -> list[Problem]:
        """See `Sampler`. Raises `ConfigError` when there are fewer than `size` problems."""
        if size > len(self.problems):
            raise ConfigError(
                f"rollout.prompts_per_step={size}: there are only {len(self.problems)} problems to train on; "
                "ask for fewer prompts or give more problems"
            )
        epoch, index = divmod(step, len(self.problems) // size)
        order = Random(f"{self.seed}/{epoch}").sample(range(len(self.problems)), len(self.problems))
        return [self.problems[i] for i in order[index * size : (index + 1) * size]]


@dataclass(frozen=True)
class Endless:
    """Fresh problems of the offline task for every step: those that `accepts` lets through."""

    accepts: Accepts
    seed: int

    def batch(self, step: int, size: int) -> list[Problem]:
        """See `Sampler`."""
        return list(islice(_stream(f"{self.seed}/{step}", self.accepts), size))


def _arith(data: DataConfig, seed: int, fits: Accepts) -> ProblemSet:
    fraction = data.held_out_fraction
    if fraction > ARITH_RESERVED:
        raise ConfigError(
            f"data.held_out_fraction={fraction}: the base models may have seen what lies beyond {ARITH_RESERVED}; give less"
        )
    return ProblemSet(
        train=Endless(lambda problem: not held_out(problem, fraction) and fits(problem), seed),
        dropped=0,
        _held_out=lambda: _stream("held out", lambda problem: held_out(problem, fraction) and fits(problem)),
    )


def _jsonl(data: DataConfig, seed: int, fits: Accepts) -> ProblemSet:
    problems = read_jsonl(data.path, "data.path", data)
    if data.held_out_path:
        evaluation = read_jsonl(data.held_out_path, "data.held_out_path", data)
    else:
        evaluation = [problem for problem in problems if held_out(problem, data.held_out_fraction)]
    reserved = {problem.id for problem in evaluation}
    training = [problem for problem in problems if problem.id not in reserved]
    found = len(training) + len(evaluation)
    training, evaluation = list(filter(fits, training)), sorted(filter(fits, evaluation), key=_position)
    dropped = found - len(training) - len(evaluation)
    longer = f" ({dropped} prompts are longer than data.max_prompt_tokens={data.max_prompt_tokens})" if dropped else ""
    if not training:
        raise ConfigError(f"data.path={data.path}: no problem is left to train on{longer}; give more problems")
    if not evaluation:
        raise ConfigError(
            f"data.path={data.path}: no problem is left for evaluation{longer}; "
            f"raise data.held_out_fraction={data.held_out_fraction} or name a data.held_out_path"
        )
    return ProblemSet(train=Shuffled(training, seed), dropped=dropped, _held_out=lambda: iter(evaluation))


def _stream(seed: str, accepts: Accepts) -> Iterator[Problem]:
    """Different problems of the offline task, for ever."""
    random, seen, rejected = Random(seed), set(), 0
    while rejected < _PATIENCE:
        problem = draw(random).problem()
        if problem.id in seen or not accepts(problem):
            rejected += 1
            continue
        seen.add(problem.id)
        rejected = 0
        yield problem
    raise ConfigError(
        f"data.source=arith: {_PATIENCE} problems in a row could not be used; "
        "raise data.max_prompt_tokens, or data.held_out_fraction if it is 0"
    )


def _position(problem: Problem) -> float:
    """Where in [0, 1) a hash of its id puts a problem."""
    return int.from_bytes(hashlib.blake2b(problem.id.encode(), digest_size=6).digest()) / 2**48
