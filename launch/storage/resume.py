"""Resuming a run: the newest intact checkpoint, and whether the configuration fits it."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from launch.packages import recorded_versions
from launch.storage.checkpoints import Checkpoint, Checkpoints, is_checkpoint
from launch.storage.places import named_folder
from tandem.config.schema import SETTINGS, Config, ConfigError
from tandem.records.run_record import CONFIG, saved_config
from tandem.runtime.atomic_dir import find_corruption

AUTO = "auto"
INTERCHANGEABLE = ({0}, {1, 2}, {3})
"""Sets of ZeRO stages that read each other's checkpoints in DeepSpeed's universal format."""


class Resumption(NamedTuple):
    """The run and checkpoint from which to resume."""

    run: Path | None = None
    """the folder of the resumed run; None for a new run"""
    checkpoint: Checkpoint | None = None
    """the checkpoint to resume from; None to start from the beginning"""
    warnings: tuple[str, ...] = ()


NEW = Resumption()
"""The resumption of a new run."""


def find_resumption(config: Config) -> Resumption:
    """Return the resumption for `config.resume`; a damaged checkpoint is skipped with a warning.

    Raises `ConfigError` when there is nothing to resume, no checkpoint is intact, or `config` does not fit the checkpoint.
    """
    if not config.resume:
        return NEW
    if config.resume == AUTO:
        if not config.name:
            raise ConfigError("resume=auto: no run is named; give name=NAME, or a folder as resume=PATH")
        given = named_folder(config, config.name)
    else:
        given = Path(config.resume).resolve()
    single = is_checkpoint(given)
    run = given.parent.parent if single else given
    if config.resume != AUTO and config.name not in ("", run.name) and run != named_folder(config, config.name):
        raise ConfigError(
            f"name={config.name}: resume={config.resume} continues in {run}; leave the name out, or copy that folder and "
            "resume the copy"
        )
    checkpoints = Checkpoints(run / "checkpoints", config.checkpoint)
    candidates = [Checkpoint(given)] if single else checkpoints.complete()
    skipped = [] if single else [f"{path} is incomplete" for path in checkpoints.partial()]
    for checkpoint in candidates:
        if wrong := find_corruption(checkpoint.path):
            skipped.append(f"{checkpoint.path} is damaged: {wrong}")
            continue
        warnings = [f"warning: {what}; skipped" for what in skipped]
        return Resumption(run, checkpoint, (*warnings, *_differences(config, checkpoint)))
    if candidates or config.resume != AUTO:
        found = "\n  ".join(skipped) or f"{run} has none"
        raise ConfigError(f"resume={config.resume}: there is no intact checkpoint; leave resume out for a new run\n  {found}")
    return Resumption(run, None, tuple(f"warning: {what}; skipped" for what in skipped))


def _differences(config: Config, checkpoint: Checkpoint) -> Iterator[str]:
    """Yield a warning for each change since `checkpoint` that may affect training.

    Raises `ConfigError` for settings that must not change.
    """
    saved = saved_config(checkpoint.path / CONFIG)
    if config.steps < checkpoint.step:
        raise ConfigError(f"steps={config.steps}: {checkpoint.path} is of a later step; give at least {checkpoint.step}")
    if not any({config.learner.zero_stage, saved.learner.zero_stage} <= stages for stages in INTERCHANGEABLE):
        raise ConfigError(
            f"learner.zero_stage={config.learner.zero_stage}: {checkpoint.path} was written with {saved.learner.zero_stage}; "
            "only stages 1 and 2 read each other's checkpoints; use that stage"
        )
    changed = [key for key in SETTINGS if attrgetter(key)(config) != attrgetter(key)(saved)]
    refused = [
        f"{key}={attrgetter(key)(config)}: {checkpoint.path} was written with {attrgetter(key)(saved)}; use that, or start a "
        "new run"
        for key in changed
        if SETTINGS[key].on_resume == "keep"
    ]
    if refused:
        raise ConfigError("\n".join(refused))
    planned = config.learner.lr_schedule != "constant" or config.schedule.anneal != "constant"
    for key in changed:
        if SETTINGS[key].on_resume == "warn" or (key == "steps" and planned):
            yield f"warning: {key} changes from {attrgetter(key)(saved)} to {attrgetter(key)(config)}"
    for package, version in checkpoint.state().packages.items():
        if (installed := recorded_versions().get(package)) != version:
            yield f"warning: {package} changes from {version} to {installed or 'missing'}"
