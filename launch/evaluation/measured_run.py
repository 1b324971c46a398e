"""A run folder as the input of an evaluation: its settings, under what the command line says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from launch.command_line import CONF
from launch.run.inputs import TRAINING_ONLY
from tandem.config.checks.unused import unused
from tandem.config.load import expanded, typed
from tandem.config.schema import ConfigError

LEFT = ("config.yaml", "metrics.jsonl")
"""What tells a run folder from others."""
OWN = ("name", "senior", "log", *TRAINING_ONLY)
"""What is the evaluation's own, whatever the run had."""
GROUPS = ("eval", "data", "mode", "schedule", "learner", "log")
"""Groups whose files may be chosen over a run's settings; the others size whole runs."""


def run_of(senior: str) -> Path | None:
    """The run folder that `senior` is, or lies in; None: it is a model by itself, or not given."""
    path = Path(senior).resolve()
    if not senior or not path.is_dir():
        return None
    return next((folder for folder in [path, *path.parents] if all((folder / name).is_file() for name in LEFT)), None)


def senior_of(senior: str) -> str:
    """The model that `senior` means: a run folder's final senior, or itself. Raises `ConfigError` when the run left none."""
    run = run_of(senior)
    if run is None or run != Path(senior).resolve():
        return senior
    if not (run / "senior").is_dir():
        raise ConfigError(f"senior={senior}: this run has exported no senior; let it end, or name a model that it left")
    return str(run / "senior")


def settings_of_run(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """`composed`, or if its `senior` belongs to a run, that run's settings with the command line's `overrides` in them.

    What the run was given and these leave without an effect has its default.

    Raises `ConfigError` for an override that would make another run of it.
    """
    run = run_of(expanded("senior", composed.senior))
    if run is None:
        return composed
    settings = OmegaConf.load(run / "config.yaml")
    assert isinstance(settings, DictConfig)
    for key in OWN:
        OmegaConf.update(settings, key, composed[key], force_add=True)
    for override in overrides:
        key, _, value = override.partition("=")
        if not (CONF / key).is_dir():
            OmegaConf.update(settings, key, OmegaConf.select(composed, key), force_add=True)
        elif key in GROUPS:
            OmegaConf.update(settings, key, OmegaConf.load(CONF / key / f"{value}.yaml"), force_add=True)
        else:
            raise ConfigError(f"{override}: senior={composed.senior} is a run, which brings its own {key}; leave it out")
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    for key, _, default, _ in list(unused(typed(settings))):
        if key not in given:
            OmegaConf.update(settings, key, default, merge=False)
    return settings
