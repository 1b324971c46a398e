"""Resuming a run: the newest intact checkpoint, and whether the configuration fits it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from launch.packages import recorded_versions
from launch.storage.checkpoints import Checkpoint, Checkpoints
from launch.storage.places import named_folder
from tandem.config.checks.run import PARTIAL, run_errors
from tandem.config.schema import SETTINGS, Config, ConfigError
from tandem.records.run_record import CHECKPOINTS, CONFIG, STOPPED_EARLY, is_run, saved_config
from tandem.records.step_folders import step_of
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


def find_resumption(config: Config, *, verify: bool = True) -> Resumption:
    """Return the resumption for `config.resume`; a damaged checkpoint is skipped with a warning.

    `verify`: whether to read checkpoints whole, and not only the sizes of their files. Raises `ConfigError` when there is
    nothing to resume, no checkpoint is intact, or `config` does not fit the checkpoint.
    """
    if not config.resume:
        return NEW
    run, named = _resumed_run(config)
    _check_trains(config, run)
    checkpoints = Checkpoints(run / CHECKPOINTS, config.checkpoint)
    candidates = [named] if named else checkpoints.complete()
    incomplete = [] if named else [f"{path} is incomplete" for path in checkpoints.partial()]
    checkpoint, damaged = _newest_intact(candidates, verify)
    skipped = [*incomplete, *damaged]
    if checkpoint is None and (candidates or config.resume != AUTO):
        reasons = "\n  ".join(skipped) or f"{run} has none"
        raise ConfigError(f"resume={config.resume}: there is no intact checkpoint; {_new_run(config)}\n  {reasons}")
    warnings = [f"warning: {what}; skipped" for what in skipped]
    return Resumption(run, checkpoint, (*warnings, *(_differences(config, checkpoint) if checkpoint else ())))


def _resumed_run(config: Config) -> tuple[Path, Checkpoint | None]:
    """Return the run that `config` resumes, and the checkpoint if it names one.

    Raises `ConfigError` when no run is named, or when `name` and `resume` name different runs.
    """
    if config.resume == AUTO:
        if not config.name:
            raise ConfigError("resume=auto: no run is named; give name=NAME, or a folder as resume=PATH")
        return named_folder(config, config.name), None
    path = Path(config.resume).resolve()
    checkpoint = None if step_of(path) is None else Checkpoint(path)
    run = checkpoint.run if checkpoint else path
    if config.name not in ("", run.name) and run != named_folder(config, config.name):
        raise ConfigError(
            f"name={config.name}: resume={config.resume} continues in {run}; leave the name out, or copy that folder and "
            "resume the copy"
        )
    return run, checkpoint


def _check_trains(config: Config, run: Path) -> None:
    """Raise `ConfigError` if the run in the folder `run` does not train: starting it again would remove what it has written."""
    if not is_run(run):
        return
    saved = saved_config(run / CONFIG)
    for key in PARTIAL:
        if getattr(saved, key):
            raise ConfigError(f"resume={config.resume}: {run} has {key} set, and no such run is resumed; choose another name")


def _newest_intact(candidates: Sequence[Checkpoint], verify: bool) -> tuple[Checkpoint | None, list[str]]:
    """Return the first intact one of `candidates`, None without one, and a description of each damaged one before it.

    `verify`: whether to read the files, and not only their sizes.
    """
    damaged: list[str] = []
    for checkpoint in candidates:
        wrong = find_corruption(checkpoint.path, contents=verify)
        if not wrong:
            return checkpoint, damaged
        damaged.append(f"{checkpoint.path} is damaged: {wrong}")
    return None, damaged


def _new_run(config: Config) -> str:
    """Return what to change for a new run instead of the one that `config` resumes."""
    if not config.name or not is_run(folder := named_folder(config, config.name)):
        return "leave resume out for a new run"
    if config.resume != AUTO:
        return "leave resume out and choose another name for a new run"
    return f"for a new run choose another name, or remove {folder}"


def may_resume(config: Config) -> bool:
    """Whether a run with these settings takes resume=auto; one without a learner, for example, does not."""
    return not any(run_errors(replace(config, resume=AUTO)))


def continuation(config: Config, last_row: Mapping[str, float]) -> str | None:
    """Return how `config` continues the existing run `config.name`, or starts it again, in words; None if it can do neither.

    `last_row` is the last of its metrics. Does not read its checkpoints whole, which may take minutes.
    """
    last_step = int(last_row.get("step", -1))
    resumed = replace(config, resume=AUTO, steps=max(config.steps, last_step))
    try:
        run, checkpoint, _ = find_resumption(resumed, verify=False)
        saved = saved_config(named_folder(config, config.name) / CONFIG)
    except (ValueError, TypeError, KeyError):  # also of a damaged state.json
        return None
    if run is None or not (may_resume(resumed) and may_resume(saved)):
        return None
    if checkpoint is None:
        return "start it again with resume=auto" if last_step < config.steps else None
    overrides = ["resume=auto"]
    if checkpoint.step >= config.steps:
        overrides.append(f"steps above {checkpoint.step}")
    if STOPPED_EARLY in last_row and config.stop.metric and config.stop.patience <= saved.stop.patience:
        overrides.append(f"stop.patience above {saved.stop.patience}")
    return f"continue it with {' and '.join(overrides)}"


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
