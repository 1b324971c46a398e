"""The runs of an experiment: their settings must not have changed, and they share engines."""

from __future__ import annotations

import time
from operator import attrgetter

from launch.experiments.engines import SharedEngines
from launch.experiments.run import FINISHED, Run, RunOutcome
from launch.run.program import train_and_export
from tandem.config.schema import SETTINGS, ConfigError
from tandem.records.run_record import CONFIG, saved_config

COMPARED = ("steps", *(key for key in SETTINGS if key.startswith("eval.")))
"""Settings that a single run may change on resume, but that must be equal in runs that are compared."""


def check_same_settings(run: Run) -> None:
    """Raise `ConfigError` when the run's folder holds a run with other settings."""
    path = run.path / CONFIG
    if not path.exists():
        return
    saved = saved_config(path)
    for key, setting in SETTINGS.items():
        value, before = attrgetter(key)(run.config), attrgetter(key)(saved)
        if value != before and (key in COMPARED or setting.on_resume != "change"):
            raise ConfigError(f"{key}={value}: {run.path} was made with {before}; choose another name, or remove that folder")


def train_run(run: Run, engines: SharedEngines) -> None:
    """Start or resume a run as launch/train.py does, in the Ray cluster of this process, and write its outcome."""
    start = time.monotonic()
    train_and_export(run.config, engines.borrow_engines, elsewhere=False)  # evaluations look in the run folder alone
    RunOutcome(FINISHED, 0, run.seconds_since(start), run.config.steps).write(run.path)
