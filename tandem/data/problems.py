"""The problems of a run: what a training step gets, and what is held out for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tandem.config import ConfigError, DataConfig
from tandem.data import arith
from tandem.data.arrow import hub, parquet
from tandem.data.catalogue import Catalogue, catalogue
from tandem.data.jsonl import JsonLines
from tandem.data.order import Accepts, Draws, Endless, Sampler, Shuffled, Untrainable, stream
from tandem.data.pass_rates import read_pass_rates
from tandem.data.prompts import prompt
from tandem.data.rows import Rows
from tandem.data.split import held_out
from tandem.rollout import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ARITH_RESERVED = 0.5
"""The fraction of the offline task that the base models of `tandem.zoo` never saw: no more of it can be held out."""


@dataclass(frozen=True)
class ProblemSet:
    """A run's problems, from `load_problems`."""

    train: Sampler
    dropped: int
    """problems left out because a reader's prompt is too long (always 0 for an endless source)"""
    _held_out: Callable[[], Iterator[Problem]]
    skipped: int = 0
    """malformed rows left out, as `data.on_bad_line=skip` says"""
    too_easy_or_hard: int = 0
    """problems left out for their pass rate"""
    catalogue: Catalogue | None = None
    """all training problems, unless their source is endless or they are for evaluation only"""

    def held_out(self, count: int) -> list[Problem]:
        """The first `count` held-out problems, in an order that is the same for every run; all of them if there are fewer."""
        return list(islice(self._held_out(), count))

    @property
    def left_out(self) -> str:
        """What of the data is not used, in words."""
        rated = f", {self.too_easy_or_hard} for their pass rate" if self.too_easy_or_hard else ""
        malformed = f", {self.skipped} malformed rows skipped" if self.skipped else ""
        return f"{self.dropped} problems dropped as too long{rated}{malformed}"


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
            return _endless(_arith(data), data, seed, fits)
        case "reasoning_gym":
            return _endless(_reasoning_gym(data), data, seed, fits)
        case "jsonl" | "parquet":
            reserved = _file(data, data.held_out_path, "data.held_out_path") if data.held_out_path else None
            return _finite(_file(data, data.path, "data.path"), reserved, data, seed, fits)
        case "hub":
            return _finite(hub(data), None, data, seed, fits)
    raise ConfigError(f"data.source={data.source}: choose arith, reasoning_gym, jsonl, parquet or hub")


def _arith(data: DataConfig) -> Draws:
    if data.held_out_fraction > ARITH_RESERVED:
        raise ConfigError(
            f"data.held_out_fraction={data.held_out_fraction}: the base models may have seen what lies beyond "
            f"{ARITH_RESERVED}; give less"
        )
    return lambda random: arith.draw(random).problem()


def _reasoning_gym(data: DataConfig) -> Draws:
    from tandem.data.gym import Mix  # takes a second, and a package that a run on other data can do without

    return Mix(data).draw


def _file(data: DataConfig, path: str, key: str) -> Rows:
    return JsonLines(path, key) if data.source == "jsonl" else parquet(path, key, data)


def _endless(draws: Draws, data: DataConfig, seed: int, fits: Accepts) -> ProblemSet:
    def on_side(held: bool) -> Accepts:
        return lambda problem: held_out(problem, data.held_out_fraction) is held and fits(problem)

    return ProblemSet(
        train=Endless(draws, on_side(False), seed),
        dropped=0,
        _held_out=lambda: stream(draws, on_side(True), "held out"),
    )


def _finite(rows: Rows, held_out_rows: Rows | None, data: DataConfig, seed: int, fits: Accepts) -> ProblemSet:
    problems = catalogue(rows, data, fits)
    reserved = catalogue(held_out_rows, data, fits) if held_out_rows else problems.where(_reserved(problems, data))
    training = problems.where(~np.isin(problems.digests, reserved.digests))
    evaluation = reserved.where(np.argsort(reserved.positions, kind="stable"))
    evaluation, usable = evaluation.where(evaluation.fits), training.where(training.fits)
    dropped = len(training) - len(usable) + len(reserved) - len(evaluation)
    longer = f" ({dropped} prompts are longer than data.max_prompt_tokens={data.max_prompt_tokens})" if dropped else ""
    if not len(usable) and not data.evaluation_only:
        raise ConfigError(f"{rows.key}: no problem is left to train on{longer}; give more problems")
    rated = usable.where(_rate_fits(usable, data))
    if len(usable) and not len(rated):
        raise ConfigError(
            f"data.pass_rates={data.pass_rates}: the rates of all {len(usable)} problems are beyond data.min_pass_rate="
            f"{data.min_pass_rate} and data.max_pass_rate={data.max_pass_rate}; allow more"
        )
    if not len(evaluation):
        raise ConfigError(
            f"{rows.key}: no problem is left for evaluation{longer}; "
            f"raise data.held_out_fraction={data.held_out_fraction} or name a data.held_out_path"
        )
    return ProblemSet(
        train=Untrainable(rows.key) if data.evaluation_only else Shuffled(rated, seed),
        dropped=dropped,
        _held_out=lambda: (evaluation[index] for index in range(len(evaluation))),
        skipped=problems.skipped + (reserved.skipped if held_out_rows else 0),
        too_easy_or_hard=len(usable) - len(rated),
        catalogue=None if data.evaluation_only else rated,
    )


def _reserved(problems: Catalogue, data: DataConfig) -> np.ndarray:
    """bool [N], which problems are held out: all, so many, or a fraction, by the hash."""
    if data.evaluation_only:
        return np.ones(len(problems), bool)
    if data.held_out_problems:
        return np.isin(np.arange(len(problems)), np.argsort(problems.positions, kind="stable")[: data.held_out_problems])
    return problems.positions < data.held_out_fraction


def _rate_fits(problems: Catalogue, data: DataConfig) -> np.ndarray:
    """bool [N], which problems the base solves neither too often nor too seldom, as far as that is known."""
    if not data.pass_rates:
        return np.ones(len(problems), bool)
    known, low, high = read_pass_rates(Path(data.pass_rates).expanduser()), data.min_pass_rate, data.max_pass_rate
    return np.array([low <= known.get(id_, low) <= high for id_ in problems.ids], bool)
