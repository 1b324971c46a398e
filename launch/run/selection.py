"""The best senior of a run by a measure of its evaluations (`eval.select`), exported beside the last one.

A run keeps in best/ the best senior so far and, until its end, the best up to each checkpoint from which it may be resumed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from launch.evaluation.evaluator import label
from launch.run.training_run import TrainingRun
from launch.storage.atomic_dir import written_aside
from launch.storage.run_folder import RunFolder
from launch.storage.run_record import best_step
from tandem.config.evaluation import EvalConfig
from tandem.config.schema import ConfigError
from tandem.runtime.disk import disk_full


def check_selection(evaluation: EvalConfig) -> None:
    """Raise `ConfigError` when the evaluations during training do not take the measure `select`."""
    teams = evaluation.handoff if "handoff" in evaluation.measures else []
    kinds = ["accuracy", *(f"pass@{k}" for k in evaluation.pass_at if k > 1)]
    names = [f"{texts}/{kind}" for texts in ["solo", *(f"team/{label(each)}" for each in teams)] for kind in kinds]
    names += ["solo/greedy"] if evaluation.greedy else []
    if evaluation.select and evaluation.select not in names:
        raise ConfigError(
            f"eval.select={evaluation.select}: the run does not measure that; choose {' or '.join(names)}, or have it measured "
            "(eval.measures, eval.pass_at, eval.greedy)"
        )


def keep_if_best(run: TrainingRun, step: int) -> None:
    """Export the senior after `step` if its evaluation is better than that of every senior kept so far.

    The base model, before the first step, does not count. A full disk costs this senior, not the run.
    """
    folder, measure = run.rollout_run.folder, run.rollout_run.config.eval.select
    values = _values(folder, measure)
    if step == 0 or step not in values:
        return
    if all(values[step] > values[each] for each in _kept(folder, values)):
        try:
            with written_aside(folder.best / f"step-{step:06d}") as partial:
                run.learner.export(partial)
        except OSError as error:
            if not disk_full(error):
                raise
            run.rollout_run.console.print(
                f"WARNING: the senior after step {step}, the best so far by {measure}, could not be kept, because the disk of "
                f"{folder.path} is full ({error}); make room before a better one is due"
            )
    _remove_others(folder, values, [step, *(checkpoint.step for checkpoint in folder.checkpoints.complete())])


def selected_senior(folder: RunFolder, measure: str) -> tuple[Path, str] | None:
    """Return the folder of the best senior of a finished run and a line that describes it, and remove all others kept.

    None if there is none.
    """
    values = _values(folder, measure)
    kept = _kept(folder, values)
    if not kept:
        return None
    _remove_others(folder, values, [max(kept)])
    ((step, path),) = _kept(folder, values).items()
    return path, f"best senior by {measure}: {values[step]:.3f} after step {step}, {path}"


def _values(folder: RunFolder, measure: str) -> dict[int, float]:
    """Return the values of `measure` by step."""
    return {int(row["step"]): row[measure] for row in folder.rows if measure in row}


def _kept(folder: RunFolder, values: Mapping[int, float]) -> dict[int, Path]:
    """Return the folders of the seniors that are kept and were measured, by step."""
    return {step: path for step, path in folder.best_seniors().items() if step in values}


def _remove_others(folder: RunFolder, values: Mapping[int, float], steps: list[int]) -> None:
    """Remove all seniors but the first of the best up to each of `steps`."""
    kept = _kept(folder, values)
    best = {best_step({each: values[each] for each in kept if each <= step}) for step in steps}
    for step, path in kept.items():
        if step not in best:
            shutil.rmtree(path)
