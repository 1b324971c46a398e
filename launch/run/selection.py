"""The best senior of a run by a measure of its evaluations (`eval.select`), exported beside the last one.

A run keeps in best/ the best senior so far and, until its end, the best up to each checkpoint from which it may be resumed.
Each was better than all before it, so the last of them is the best.
"""

from __future__ import annotations

import math
import shutil

from launch.run.training_run import TrainingRun
from launch.storage.run_folder import RunFolder
from tandem.records.run_record import best_senior, values_by_step
from tandem.records.step_folders import step_folder, step_folders, step_of
from tandem.runtime.atomic_dir import written_aside
from tandem.runtime.disk import tolerate_full_disk


def keep_if_best(run: TrainingRun, step: int) -> None:
    """Export the senior after `step` if its evaluation is better than that of every senior kept so far.

    The base model, before the first step, does not count. A full disk costs this senior, not the run.
    """
    folder, measure = run.folder, run.config.eval.select
    values = values_by_step(folder.rows, measure)
    if step == 0 or step not in values:
        return
    if all(values[step] > values.get(kept, -math.inf) for kept in step_folders(folder.best)):

        def warn(error: OSError) -> None:
            run.console.print(
                f"WARNING: the senior after step {step}, the best so far by {measure}, could not be kept, because the disk of "
                f"{folder.path} is full ({error}); make room before a better one is due"
            )

        with tolerate_full_disk(warn), written_aside(step_folder(folder.best, step)) as partial:
            run.learner.export(partial)
    _remove_superseded(folder, [step, *(checkpoint.step for checkpoint in folder.checkpoints.complete())])


def describe_best(folder: RunFolder, measure: str) -> str | None:
    """Return a line about the best senior of a finished run, and remove all others kept; None without one."""
    best = best_senior(folder.path)
    if not (measure and best):
        return None
    step = step_of(best)
    assert step is not None
    _remove_superseded(folder, [step])
    return f"best senior by {measure}: {values_by_step(folder.rows, measure)[step]:.3f} after step {step}, {best}"


def _remove_superseded(folder: RunFolder, steps: list[int]) -> None:
    """Remove all seniors in best/ but the best up to each of `steps`."""
    seniors = step_folders(folder.best)
    needed = {max((kept for kept in seniors if kept <= step), default=None) for step in steps}
    for step, path in seniors.items():
        if step not in needed:
            shutil.rmtree(path)
