"""A run folder as the input of an evaluation: its settings, with the command line's overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from launch.command_line import CONF, split_override
from launch.config_file import read_yaml
from launch.entry import TRAINING_ONLY
from tandem.config.checks.unused import unused
from tandem.config.load import expand_home, typed
from tandem.config.schema import ConfigError
from tandem.records.run_record import CONFIG, FINAL_SENIOR, best_senior, is_run, saved_settings
from tandem.runtime.disk import unreachable

EVALUATION_KEYS = ("name", "senior", "log", "mode.name", *TRAINING_ONLY)
"""The settings that an evaluation does not take from the run."""
GROUPS = ("eval", "data", "mode", "schedule", "learner", "log")
"""The configuration groups that may replace a run's settings. The others size whole runs."""


def run_of(senior: str) -> Path | None:
    """Return the run folder that `senior` is or lies in; None if there is none."""
    path = Path(senior).resolve()
    if not senior or not path.is_dir():
        return None
    # Other programs write a metrics.jsonl too, but no config.yaml beside it.
    return next((above for above in [path, *path.parents] if is_run(above) and (above / CONFIG).is_file()), None)


def senior_of(senior: str) -> str:
    """Return a run folder's best senior (`eval.select`) if it kept one, else its final senior; any other `senior` unchanged.

    Raises `ConfigError` when the run has none.
    """
    run = run_of(senior)
    if run is None or run != Path(senior).resolve():
        return senior
    if not (run / FINAL_SENIOR).is_dir():
        raise ConfigError(f"senior={senior}: this run has exported no senior; let it end, or name an exported model")
    return str(best_senior(run) or run / FINAL_SENIOR)


def settings_of_run(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return `composed`, or if its `senior` belongs to a run, that run's settings with the command line's `overrides`.

    Settings of the run that have no effect under the overrides get their defaults. Raises `ConfigError` for an override that
    the run's settings exclude.
    """
    senior = expand_home("senior", composed.senior)
    run = None if unreachable(senior) else run_of(senior)
    if run is None:
        return composed
    settings = OmegaConf.create(saved_settings(run / CONFIG))
    for key in EVALUATION_KEYS:
        OmegaConf.update(settings, key, OmegaConf.select(composed, key), force_add=True)
    values = {key.lstrip("+"): value for key, value in map(split_override, overrides)}
    groups = {key: value for key, value in values.items() if (CONF / key).is_dir()}
    for key, value in groups.items():
        if key not in GROUPS:
            raise ConfigError(f"{key}={value}: senior={composed.senior} is a run, which brings its own {key}; leave it out")
        OmegaConf.update(settings, key, read_yaml(CONF / key / f"{value}.yaml", f"{key}={value}"), force_add=True)
    for key in (key for key in values if key not in groups):  # after the groups, as Hydra does
        OmegaConf.update(settings, key, OmegaConf.select(composed, key), force_add=True)
    for key, _, default, _ in list(unused(typed(settings))):
        if not any(f"{each}.".startswith(f"{key}.") for each in values):
            OmegaConf.update(settings, key, default, merge=False)
    return settings
