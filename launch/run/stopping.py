"""The early end of a run whose metric no longer improves (`stop.metric`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from launch.run.evaluation import evaluate_senior
from launch.run.selection import keep_if_best
from launch.run.training_run import TrainingRun
from tandem.config.run import StopConfig
from tandem.config.schema import ConfigError
from tandem.measures.names import ACCURACY
from tandem.records.run_record import STOPPED_EARLY, values_by_step


def stop_early(run: TrainingRun, step: int) -> bool:
    """End the run after `step` if its metric no longer improves: evaluate and save the senior. Return whether it ends.

    Raises `ConfigError` if the first step has not logged the metric.
    """
    rows, settings = run.folder.rows, run.config.stop
    if not (why := stop_reason(settings, rows)):
        return False
    run.console.print(f"Stopped after step {step}: {why}")
    run.folder.log({"step": step, STOPPED_EARLY: 1.0})
    if ACCURACY not in rows[-1]:
        run.log({"step": step} | evaluate_senior(run, step))
    keep_if_best(run, step)
    run.save_at_end(step)
    return True


def stop_reason(settings: StopConfig, rows: Sequence[Mapping[str, float]]) -> str:
    """Return why a run with these metrics ends; empty if it goes on. Raises `ConfigError` if step 1 has no such metric."""
    if not settings.metric:
        return ""
    values = values_by_step(rows, settings.metric)
    if not values and rows and rows[-1]["step"] >= 1:
        raise ConfigError(
            f"stop.metric={settings.metric}: no step logs it; name one of metrics.jsonl, such as {ACCURACY} or reward/mean"
        )
    sign, best, best_step, since = -1 if settings.minimize else 1, -math.inf, 0, 0
    for step, value in values.items():
        if sign * value > best + settings.min_improvement:
            best, best_step, since = sign * value, step, 0
        else:
            since += 1
    if since < settings.patience:
        return ""
    return (
        f"{settings.metric} has not improved on {sign * best:.4g} (step {best_step}) in its last {since} values "
        f"(stop.patience={settings.patience})"
    )
