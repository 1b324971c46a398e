"""The folder of an evaluation: scores with settings, each problem's part in them, a table and a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from launch.evaluation.measured_run import run_of
from launch.packages import recorded_versions
from launch.storage.append import replace_lines
from launch.storage.owner import check_free
from launch.storage.places import dated_name, folder_within, named_folder
from launch.text_tables import markdown_table, terminal_table
from tandem.config.black_box import black_box
from tandem.config.schema import Config, ConfigError
from tandem.measures.estimates import Estimate, percent
from tandem.measures.problem_sets import ProblemSets
from tandem.measures.result_rows import ProblemRow, problem_rows, text_rows
from tandem.measures.score import Score
from tandem.records.json_files import read_json, read_lines_as
from tandem.records.run_record import EVALUATIONS, LOGS, PROBLEMS, RESULT
from tandem.rollout import Group

if TYPE_CHECKING:
    from launch.evaluation.benchmarks import Benchmarks
    from tandem.authors import Authors

RECORDED_SETTINGS = ("seed", "model", "junior", "junior_dtypes", "junior_translation", "data", "judge", "eval")
"""The settings on which the scores depend."""
REMEDY = "restore it from a copy, or remove this folder and evaluate again"
"""The remedy for a damaged file of an evaluation."""


class EvaluationFolder:
    """The folder runs/NAME/evaluation/NAME/ for a run's senior, else NAME/ in the folder of runs.

    NAME is the date and time by default. Raises `ConfigError` when the folder holds an evaluation, which is not overwritten.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        run = run_of(config.senior)
        name = config.name or dated_name("evaluation")
        self.path = folder_within(run / EVALUATIONS, name, f"senior={config.senior}") if run else named_folder(config, name)
        check_free(self.path, f"name={name}")
        if self.result.exists():
            raise ConfigError(f"name={config.name}: an evaluation {self.path} exists; choose another name, or remove it")

    @property
    def result(self) -> Path:
        """The file of scores."""
        return self.path / RESULT

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.path / LOGS

    def write(
        self,
        authors: Authors,
        benchmarks: Benchmarks,
        scores: Mapping[str, Score],
        texts: Mapping[str, Sequence[Group]],
        notes: Sequence[str],
        device: str,
    ) -> None:
        """Write the scores with their intervals to the existing folder: as JSON, a table and a figure.

        Also write each problem's total and weight in each score, and a row for each text. `device` is where `model_scores` ran.
        """
        settings = asdict(self._config)
        estimates = self._estimates(benchmarks.sets.averaged(scores))
        by_set = {name: self._estimates(part) for name, part in benchmarks.sets.by_set(scores).items()}
        result: dict[str, Any] = {
            "senior": str(authors.senior),
            "juniors": self._config.junior if black_box(self._config) else [str(junior.path) for junior in authors.juniors],
            "device": device,
            "problems": len(benchmarks.prompts),
            "settings": {key: settings[key] for key in RECORDED_SETTINGS},
            "packages": recorded_versions(),
            "scores": {name: asdict(estimate) for name, estimate in estimates.items()},
            "sets": {name: {key: asdict(each) for key, each in part.items()} for name, part in by_set.items()},
            "notes": list(notes),
        }
        replace_lines(self.path / PROBLEMS, problem_rows(benchmarks.prompts, scores, benchmarks.sets.labels))
        replace_lines(self.path / "texts.jsonl", text_rows(texts, benchmarks.sets.labels))
        (self.path / "table.md").write_text(markdown_table(*self._table(estimates, by_set)), encoding="utf-8")
        from launch.evaluation.plots import draw_evaluation  # imports matplotlib, which takes a second

        draw_evaluation(estimates, f"{len(benchmarks.prompts)} problems").savefig(self.path / "evaluation.png")
        self.result.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    def table(self, benchmarks: Benchmarks, scores: Mapping[str, Score]) -> Table:
        """Return a table of the scores with their intervals, and of their values on each set."""
        by_set = {name: self._estimates(part) for name, part in benchmarks.sets.by_set(scores).items()}
        return terminal_table(*self._table(self._estimates(benchmarks.sets.averaged(scores)), by_set))

    def _table(
        self, estimates: Mapping[str, Estimate], by_set: Mapping[str, Mapping[str, Estimate]]
    ) -> tuple[list[str], list[list[str]]]:
        """Return the columns and rows."""
        columns = [
            "measure",
            "macro-average" if by_set else "value",
            f"{percent(self._config.eval.confidence)} interval",
            *by_set,
        ]
        rows = [
            [name, f"{each.value:.4f}", f"{each.low:.4f} to {each.high:.4f}"]
            + [f"{part[name].value:.4f}" if name in part else "" for part in by_set.values()]
            for name, each in estimates.items()
        ]
        return columns, rows

    def _estimates(self, scores: Mapping[str, Score]) -> dict[str, Estimate]:
        settings = self._config.eval
        return {
            name: Estimate(score.value, *score.interval(settings.confidence, settings.resamples, self._config.seed))
            for name, score in scores.items()
        }


@dataclass(frozen=True)
class SavedScores:
    """The scores in the folder of an evaluation."""

    scores: dict[str, Score]
    """over all problems: macro-averages over the sets, if there are sets"""
    by_set: dict[str, dict[str, Score]]
    """of each set, by its name"""


def read_scores(folder: Path, config: Config) -> SavedScores | None:
    """Return the scores in the folder of an evaluation; None unless it holds all that `config` describes.

    Raises `ConfigError` when a file is damaged.
    """
    result = folder / RESULT
    if not result.exists():
        return None
    settings = json.loads(json.dumps(asdict(config)))
    if read_json(result).get("settings") != {key: settings[key] for key in RECORDED_SETTINGS}:
        return None
    rows = read_problem_rows(folder)
    scores = {name: Score(*np.array([row.scores[name] for row in rows]).T) for name in rows[0].scores}
    sets = ProblemSets.labeled([row.set for row in rows])
    return SavedScores(sets.averaged(scores), sets.by_set(scores))


def read_problem_rows(folder: Path) -> list[ProblemRow]:
    """Return the rows of an evaluation's problems. Raises `ConfigError` when a file is damaged or rows are missing."""
    rows, result = read_lines_as(ProblemRow, folder / PROBLEMS, REMEDY), read_json(folder / RESULT)
    complete = len(rows) == result.get("problems") and rows and all(row.scores.keys() == rows[0].scores.keys() for row in rows)
    if not complete:
        raise ConfigError(f"{folder / PROBLEMS}: problems that {RESULT} counts are missing; {REMEDY}")
    return rows
