"""Read an evaluation's scores by problem, to compare it with another evaluation of the same problems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from launch.evaluation.folder import read_problem_rows
from tandem.config.schema import ConfigError
from tandem.measures.differences import Problem, ProblemScores, Totals
from tandem.measures.result_rows import ProblemRow
from tandem.records.json_files import read_lines_as
from tandem.records.run_record import EVALUATED_PROBLEMS, PROBLEMS, is_run
from tandem.records.step_folders import step_of


@dataclass(frozen=True, kw_only=True)
class EvaluatedProblem(ProblemRow):
    """One problem's row of a run's evaluation after `step`."""

    step: int


def read_problem_scores(path: Path) -> ProblemScores:
    """Return the evaluation in a folder of launch/evaluate.py, the last one of a run, or that of one of a run's checkpoints.

    Raises `ConfigError` if there is none.
    """
    if (path / PROBLEMS).is_file():
        return ProblemScores(str(path), _by_problem(read_problem_rows(path)))
    step = step_of(path)
    run = path if step is None else path.resolve().parent.parent
    if not is_run(run):
        raise ConfigError(
            f"{path}: neither a run, one of its checkpoints, nor an evaluation; name a folder such as runs/NAME, "
            "runs/NAME/checkpoints/step-000020 or runs/NAME/evaluation/NAME"
        )
    evaluated = run / EVALUATED_PROBLEMS
    rows = read_lines_as(EvaluatedProblem, evaluated, growing=True) if evaluated.exists() else []
    steps = sorted({row.step for row in rows})
    chosen = (steps or [0])[-1] if step is None else step
    if chosen not in steps:
        measured = f"it has those after steps {', '.join(map(str, steps))}" if steps else "it has none"
        raise ConfigError(f"{path}: the run has no evaluation after step {chosen}; {measured}")
    return ProblemScores(f"{run} after step {chosen}", _by_problem(row for row in rows if row.step == chosen))


def _by_problem(rows: Iterable[ProblemRow]) -> dict[Problem, Totals]:
    return {(row.set, row.id): row.scores for row in rows}
