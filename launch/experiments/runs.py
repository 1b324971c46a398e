"""The runs of an experiment: which are finished, and how one is made or goes on."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

from omegaconf import OmegaConf

from launch.experiments.engines import SharedEngines, publish_base
from launch.experiments.preset import Run
from launch.run.export import export_senior
from launch.run.inputs import read_inputs
from launch.run.loop import train
from launch.run.startup import start_training_run
from launch.storage.run_record import saved_settings
from tandem.config.load import typed
from tandem.config.schema import SETTINGS, ConfigError

COMPARED = ("steps", *(key for key in SETTINGS if key.startswith("eval.")))
"""What a run by itself may change when it goes on, and runs that are compared must have in common."""


def check_unchanged(run: Run) -> None:
    """Raises `ConfigError` when the run's folder holds a run with other settings."""
    path = run.path / "config.yaml"
    if not path.exists():
        return
    saved = typed(OmegaConf.create(saved_settings(path)))
    for key, setting in SETTINGS.items():
        given, was = attrgetter(key)(run.config), attrgetter(key)(saved)
        if given != was and (key in COMPARED or setting.on_resume != "change"):
            raise ConfigError(f"{key}={given}: {run.path} was made with {was}; choose another name, or remove that folder")


def finished(run: Run) -> bool:
    """Whether the run's folder holds all of it."""
    return senior(run).is_dir()


def senior(run: Run) -> Path:
    """The exported senior, which is the last that a run leaves."""
    return run.path / "senior"


def make(run: Run, engines: SharedEngines) -> None:
    """Trains and evaluates a run, or what is left of it, as launch/train.py does, in the Ray cluster of this process."""
    inputs = read_inputs(run.config)
    with inputs.folder as folder, start_training_run(inputs, engines.lend) as training_run:
        publish_base(training_run)
        train(training_run)
        # Elsewhere it would not be found: see `finished`.
        print_line = training_run.rollout_run.console.print
        export_senior(training_run.learner, run.config, folder, print_line, elsewhere=False)
