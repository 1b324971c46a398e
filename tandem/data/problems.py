"""The problems of a run: those of each training step, and those held out for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from tandem.config.data import SOURCES, DataConfig
from tandem.config.schema import Config, ConfigError
from tandem.data import arith, sentences
from tandem.data.arrow import hub, parquet
from tandem.data.catalogue import Catalogue, catalogue
from tandem.data.catalogue_cache import cached
from tandem.data.jsonl import JsonLines
from tandem.data.order import AcceptProblem, DrawProblem, Endless, Sampler, Shuffled, Untrainable, stream
from tandem.data.pass_rates import read_pass_rates
from tandem.data.prompts import all_too_long, check_reader, encode, prompt_length, prompt_lengths
from tandem.data.rows import Rows
from tandem.data.split import held_out
from tandem.rollout import Problem, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tandem.authors import Authors

FIRST_ROWS = 1000
"""The number of rows read to check a dataset before a run."""
ARITH_RESERVED = 0.5
"""The fraction of the offline task that the base models of `tandem.models.zoo` are not trained on: the most that can be held
out."""
TRIED = 100
"""The number of problems of an endless source, of which one at least must have a prompt that is short enough."""

Length = Callable[[Problem], int]
"""Returns the tokens of a problem's prompt; the most of any reader."""


@dataclass(frozen=True)
class ProblemSet:
    """The problems of a run, as `load_problems` returns them."""

    train: Sampler
    dropped: int
    """the number of problems left out because a reader's prompt is too long (0 for an endless source)"""
    _held_out: Callable[[], Iterator[Problem]]
    skipped: int = 0
    """the number of malformed rows left out under `data.on_bad_line=skip`"""
    unreadable: int = 0
    """the number of rows left out because their gold holds no answer"""
    too_easy_or_hard: int = 0
    """the number of training problems left out for their pass rate"""
    catalogue: Catalogue | None = None
    """all training problems; None if their source is endless or they are for evaluation only"""

    def held_out(self, count: int) -> list[Problem]:
        """Return the first `count` held-out problems, or all if there are fewer, in an order that is the same in every run."""
        return list(islice(self._held_out(), count))

    @property
    def left_out(self) -> str:
        """Describe the part of the data that is not used."""
        rated = f", {self.too_easy_or_hard} for their pass rate" if self.too_easy_or_hard else ""
        malformed = f", {self.skipped} malformed rows skipped" if self.skipped else ""
        unreadable = f", {self.unreadable} rows without a gold answer that can be read" if self.unreadable else ""
        return f"{self.dropped} problems dropped as too long{rated}{malformed}{unreadable}"


def load_problems(
    data: DataConfig,
    seed: int,
    tokenizer: PreTrainedTokenizerBase | None = None,
    junior_tokenizers: Mapping[int, PreTrainedTokenizerBase] | None = None,
    *,
    cache: Path | None = None,
) -> ProblemSet:
    """Load the problems that `data` describes, shuffled by `seed`.

    The tokenizers are those of the readers, as in `encode`. The catalogue of a large dataset is kept in the folder `cache`. A
    problem whose prompt exceeds `data.max_prompt_tokens` for any of them is left out on both sides of the split, so that every
    batch is full. Raises `ConfigError` when the data cannot be used.
    """
    readers = [reader for reader in (tokenizer, *(junior_tokenizers or {}).values()) if reader]
    for reader in readers:
        check_reader(reader, data)

    def length(problem: Problem) -> int:
        return prompt_length(problem, readers, data)

    def read(rows: Rows) -> Catalogue:
        def read_all() -> Catalogue:
            return catalogue(rows, data, lambda problems: prompt_lengths(problems, readers, data))

        return cached(rows, data, readers, cache, read_all) if cache else read_all()

    match data.source:
        case "arith":
            return _endless(_arith(data), data, seed, length)
        case "reasoning_gym":
            return _endless(_reasoning_gym(data), data, seed, length)
        case "sentences":
            return _endless(sentences.draw, data, seed, length)
        case "jsonl" | "parquet":
            reserved = _file(data, data.held_out_path, "data.held_out_path") if data.held_out_path else None
            return _finite(_file(data, data.path, "data.path"), reserved, data, seed, read)
        case "hub":
            return _finite(hub(data), None, data, seed, read)
    raise ConfigError(f"data.source={data.source}: choose {', '.join(SOURCES[:-1])} or {SOURCES[-1]}")


def load_with_held_out(config: Config, authors: Authors, data: DataConfig | None = None) -> tuple[ProblemSet, list[Prompt]]:
    """Load the problems of `data` (None: of `config.data`), and encode those that `config.eval` measures, for all authors.

    Raises `ConfigError` as `load_problems` and `encode` do.
    """
    data, juniors = data or config.data, authors.junior_tokenizers
    problems = load_problems(data, config.seed, authors.tokenizer, juniors, cache=config.cache_path)
    prompts, _ = encode(problems.held_out(config.eval.problems), authors.tokenizer, data, juniors)
    return problems, prompts


def check_first_rows(data: DataConfig) -> None:
    """Check the first rows of the files that `data` names, or its tasks, without using the hub.

    Raises `ConfigError` when a file is missing, is of another kind or has other fields, and for rows as `load_problems` does.
    """
    if data.source == "reasoning_gym":
        _reasoning_gym(data)
    elif data.source == "hub" and (Path(data.path).is_dir() or not data.path or Path(data.path).is_file()):
        catalogue(_FirstRows(hub(data)), data, lambda problems: [0] * len(problems))
    elif data.source in ("jsonl", "parquet"):
        for key in ("path", "held_out_path"):
            if (path := getattr(data, key)) or key == "path":
                catalogue(_FirstRows(_file(data, path, f"data.{key}")), data, lambda problems: [0] * len(problems))


class _FirstRows:
    """The first `FIRST_ROWS` rows of another dataset."""

    def __init__(self, rows: Rows) -> None:
        self.key, self.unit, self.at, self.record, self._rows = rows.key, rows.unit, rows.at, rows.record, rows

    def fingerprint(self) -> str:
        """Return a hash of the first rows' content."""
        return f"{self._rows.fingerprint()} {FIRST_ROWS}"

    def scan(self) -> Iterator[tuple[int, int, Any]]:
        """Yield the first `FIRST_ROWS` rows as `Rows.scan` does."""
        return islice(self._rows.scan(), FIRST_ROWS)


def _arith(data: DataConfig) -> DrawProblem:
    if data.held_out_fraction > ARITH_RESERVED:
        raise ConfigError(
            f"data.held_out_fraction={data.held_out_fraction}: the base models may have seen what lies beyond "
            f"{ARITH_RESERVED}; give less"
        )
    return lambda random: arith.draw(random).problem()


def _reasoning_gym(data: DataConfig) -> DrawProblem:
    from tandem.data.gym import Mix  # takes a second; the package is optional

    return Mix(data).draw


def _file(data: DataConfig, path: str, key: str) -> Rows:
    return JsonLines(path, key, data) if data.source == "jsonl" else parquet(path, key, data)


def _endless(draws: DrawProblem, data: DataConfig, seed: int, length: Length) -> ProblemSet:
    _check_any_fits(draws, data, seed, length)

    def on_side(held: bool) -> AcceptProblem:
        return lambda problem: held_out(problem, data.held_out_fraction) is held and length(problem) <= data.max_prompt_tokens

    return ProblemSet(
        train=Endless(draws, on_side(False), seed),
        dropped=0,
        _held_out=lambda: stream(draws, on_side(True), "held out"),
    )


def _check_any_fits(draws: DrawProblem, data: DataConfig, seed: int, length: Length) -> None:
    """Raise `ConfigError` when the prompts of the first `TRIED` problems of an endless source are all too long."""
    random, lengths = Random(seed), []
    for _ in range(TRIED):
        lengths.append(length(draws(random)))
        if lengths[-1] <= data.max_prompt_tokens:
            return
    raise all_too_long(TRIED, min(lengths), data, f" that were tried of data.source={data.source}")


def _finite(
    rows: Rows, held_out_rows: Rows | None, data: DataConfig, seed: int, read: Callable[[Rows], Catalogue]
) -> ProblemSet:
    problems = read(rows)
    if data.expected_rows not in (0, problems.read):
        raise ConfigError(
            f"data.expected_rows={data.expected_rows}: {rows.key} has {problems.read} {rows.unit}s; name the whole "
            "dataset, or another number"
        )
    reserved = read(held_out_rows) if held_out_rows else problems.where(_reserved(problems, data))
    training = problems.where(~np.isin(problems.digests, reserved.digests))
    evaluation = reserved.where(np.argsort(reserved.split_hashes, kind="stable"))
    evaluation, usable = evaluation.where(evaluation.fits), training.where(training.fits)
    too_long = len(training) - len(usable)
    if not data.evaluation_only:
        _check_any_left(usable, training, rows.key, "to train on", "hold fewer problems out, or give more")
    rated = usable.where(_rate_fits(usable, data))
    if len(usable) and not len(rated):
        raise ConfigError(
            f"data.pass_rates={data.pass_rates}: the rates of all {len(usable)} problems are beyond data.min_pass_rate="
            f"{data.min_pass_rate} and data.max_pass_rate={data.max_pass_rate}; allow more"
        )
    _check_any_left(
        evaluation,
        reserved,
        held_out_rows.key if held_out_rows else rows.key,
        "for evaluation",
        f"raise data.held_out_fraction={data.held_out_fraction} or name a data.held_out_path",
    )
    longer = f"raise data.max_prompt_tokens={data.max_prompt_tokens}, which left {too_long} out" if too_long else ""
    return ProblemSet(
        train=Untrainable(rows.key) if data.evaluation_only else Shuffled(rated, seed, longer or Shuffled.remedy),
        dropped=too_long + len(reserved) - len(evaluation),
        _held_out=lambda: (evaluation[index] for index in range(len(evaluation))),
        skipped=problems.skipped + (reserved.skipped if held_out_rows else 0),
        unreadable=problems.unreadable + (reserved.unreadable if held_out_rows else 0),
        too_easy_or_hard=len(usable) - len(rated),
        catalogue=None if data.evaluation_only else rated,
    )


def _check_any_left(usable: Catalogue, all_: Catalogue, key: str, purpose: str, remedy: str) -> None:
    """Raise `ConfigError` when no problem is left for `purpose`, or none has a prompt that is short enough."""
    if not len(all_):
        raise ConfigError(f"{key}: no problem is left {purpose}; {remedy}")
    if not len(usable):
        raise all_too_long(len(all_), int(all_.lengths.min()), all_.data, f" {purpose} of {key}")


def _reserved(problems: Catalogue, data: DataConfig) -> np.ndarray:
    """Return bool [N], which problems are held out: all, the first by hash, or a fraction by hash."""
    if data.evaluation_only:
        return np.ones(len(problems), bool)
    if data.held_out_problems:
        return np.isin(np.arange(len(problems)), np.argsort(problems.split_hashes, kind="stable")[: data.held_out_problems])
    return problems.split_hashes < data.held_out_fraction


def _rate_fits(problems: Catalogue, data: DataConfig) -> np.ndarray:
    """Return bool [N], which problems have a pass rate within the limits; those without a known rate pass."""
    if not data.pass_rates:
        return np.ones(len(problems), bool)
    rates, low, high = read_pass_rates(Path(data.pass_rates)), data.min_pass_rate, data.max_pass_rate
    return np.array([low <= rates.get(id_, low) <= high for id_ in problems.ids], bool)
