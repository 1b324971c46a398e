"""The evaluations of an experiment: of every seed's base model, and of every senior whose run has finished."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING

from launch.evaluation.folder import read_scores
from launch.storage.places import named_folder
from tandem.config.schema import Config
from tandem.measures.bootstrap import FEW_SEEDS, METHOD, METHOD_OF_FEW_SEEDS, OverSeeds, Resampled, over_seeds, resampled
from tandem.measures.names import ABOVE_FLOOR, FLOOR, LEGIBILITY
from tandem.measures.score import Score
from tandem.records.json_files import read_as
from tandem.records.run_record import EVALUATIONS

if TYPE_CHECKING:
    from launch.experiments.engines import SharedEngines

BASE = "base"
"""The name of the base models beside those of the arms."""
SECONDS = Path("seconds.json")
"""The file with the wall time of an evaluation."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one model, as launch/evaluate.py makes it."""

    name: str
    arm: str
    """or `BASE`"""
    seed: int
    config: Config

    @property
    def path(self) -> Path:
        """The folder of the results."""
        run = Path(self.config.senior) / EVALUATIONS if self.config.senior else None
        return run / self.config.name if run else named_folder(self.config, self.config.name)

    @property
    def finished(self) -> bool:
        """Whether the folder holds this evaluation, with the same settings."""
        return read_scores(self.path, self.config) is not None

    @property
    def seconds(self) -> float:
        """The wall time of the finished evaluation; 0 if it is not known."""
        file = self.path / SECONDS
        return read_as(float, file, "remove the file") if file.exists() else 0.0


def run_evaluation(evaluation: Evaluation, engines: SharedEngines) -> None:
    """Evaluate the model, on the experiment's engines. Replaces an evaluation with other settings."""
    from launch.evaluation.evaluate import evaluate  # imports torch and Ray, which takes seconds

    start = time.monotonic()
    shutil.rmtree(evaluation.path, ignore_errors=True)
    evaluate(evaluation.config, engines.borrow_workers)
    (evaluation.path / SECONDS).write_text(json.dumps(time.monotonic() - start), encoding="utf-8")


@dataclass(frozen=True)
class Evaluated:
    """The results of one evaluation of all models."""

    values: dict[str, dict[int, dict[str, Resampled]]]
    """by arm, seed and measure; the base models are the first arm"""
    problems: int
    by_set: dict[str, Evaluated] = field(default_factory=dict)
    """the results on each of `eval.sets`, by its name"""

    @property
    def measures(self) -> list[str]:
        """The keys of all measures."""
        return list(dict.fromkeys(name for seeds in self.values.values() for values in seeds.values() for name in values))

    def mean(self, arm: str, measure: str) -> OverSeeds | None:
        """Return the measure's mean over the arm's seeds; None if no seed has it."""
        values = [seed[measure] for seed in self.values.get(arm, {}).values() if measure in seed]
        return over_seeds(values) if values else None

    def difference(self, arm: str, other: str, measure: str) -> OverSeeds | None:
        """Return the mean difference of `arm` and `other`, paired by seed and problem; None without common seeds."""
        first, second = (self.values.get(name, {}) for name in (arm, other))
        both = [(first[seed], second[seed]) for seed in first if seed in second]
        gaps = [one[measure] - two[measure] for one, two in both if measure in one and measure in two]
        return over_seeds(gaps) if gaps else None

    @property
    def few_seeds(self) -> bool:
        """Whether a mean, or the difference of two arms, has an interval over fewer than `FEW_SEEDS` seeds."""
        for measure in self.measures:
            having = [{seed for seed, values in seeds.items() if measure in values} for seeds in self.values.values()]
            if any(2 <= len(one & other) < FEW_SEEDS for one, other in combinations_with_replacement(having, 2)):
                return True
        return False


def interval_method(evaluated: Iterable[Evaluated]) -> str:
    """Return the label of the intervals of `evaluated`."""
    return METHOD_OF_FEW_SEEDS if any(each.few_seeds for each in evaluated) else METHOD


def read_evaluated(evaluations: Sequence[Evaluation]) -> dict[str, Evaluated]:
    """Return the results of the finished ones of `evaluations`, by name."""
    evaluated: dict[str, Evaluated] = {}
    for evaluation in evaluations:
        saved = read_scores(evaluation.path, evaluation.config)
        if saved is None:
            continue
        _add(evaluated, evaluation.name, evaluation, saved.scores)
        for name, scores in saved.by_set.items():
            _add(evaluated[evaluation.name].by_set, name, evaluation, scores)
    return evaluated


def _add(evaluated: dict[str, Evaluated], name: str, evaluation: Evaluation, scores: Mapping[str, Score]) -> None:
    """Add the scores of one evaluation to those that are `evaluated` by `name`."""
    measured = {key: score for key, score in scores.items() if score.weights.any()}
    problems = max((len(score.totals) for score in measured.values()), default=0)
    values = evaluated.setdefault(name, Evaluated({}, problems)).values
    values.setdefault(evaluation.arm, {})[evaluation.seed] = _with_derived(resampled(measured))


def _with_derived(measured: dict[str, Resampled]) -> dict[str, Resampled]:
    """Return `measured` with the junior's cross-entropy above its floor."""
    if {LEGIBILITY, FLOOR} <= measured.keys():
        return measured | {ABOVE_FLOOR: measured[LEGIBILITY] - measured[FLOOR]}
    return measured
