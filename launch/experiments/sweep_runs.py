"""The runs of a sweep: all that a command line asks for, composed and checked before the first starts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import prod
from pathlib import Path
from typing import TypeVar

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig

from launch.command_line import TYPES, quoted, split_override
from launch.config_file import composing
from launch.experiments.run_outcome import Run
from launch.storage.owner import check_free
from launch.storage.places import dated_name, named_folder
from launch.storage.resume import AUTO, may_resume
from tandem.config.checks.unused import unused
from tandem.config.load import load, typed
from tandem.config.schema import Config, ConfigError
from tandem.records.run_record import is_run

RECORD = "multirun.yaml"
"""The configuration that Hydra writes to the folder of a sweep."""
WHOLE = ("name", "resume", "log.dir", "cache_dir", "plan_only")
"""Keys of a whole sweep, which must not differ between runs."""
MOST_RUNS = 10_000
"""The largest number of runs of a sweep: all are checked before the first starts."""
LAUNCHERS = {"hydra/launcher/joblib": "hydra-joblib-launcher", "hydra/launcher/ray": "hydra-ray-launcher"}
"""Launchers in separate packages, by configuration file."""
LONGEST_NAME = 120
"""Characters of a run folder's name; Linux allows 255, and suffixes are added to it."""

Output = TypeVar("Output")


@dataclass(frozen=True)
class SweepRun(Run):
    """One run of a sweep."""

    overrides: tuple[str, ...]
    """of its command line (see `launch.command_line.literal_overrides`)"""
    swept: dict[str, str]
    """its values of the keys in which the runs differ"""

    @property
    def label(self) -> str:
        """The swept values as text."""
        return label(self.swept)


@dataclass(frozen=True)
class RunCommand:
    """The command line of one run, before its settings are checked."""

    overrides: Sequence[str]
    swept: dict[str, str]
    """its values of the keys in which the runs differ"""
    composed: DictConfig

    @property
    def label(self) -> str:
        """The swept values as text."""
        return label(self.swept)


Checked = TypeVar("Checked", SweepRun, RunCommand)


def label(swept: dict[str, str]) -> str:
    """Return the swept values as text."""
    return ",".join(f"{key}={value}" for key, value in swept.items())


def plan_runs(overrides: Sequence[str]) -> list[SweepRun]:
    """Return the runs of a command line with --multirun and `overrides`, in Hydra's order.

    Hydra must be initialized. Raises `ConfigError` for invalid runs, or Hydra's error for invalid overrides.
    """
    commands = _without_unused(_commands(overrides))
    configs = check_all(lambda command: load(command.composed), commands)
    folder = _sweep_folder(configs)
    return [_sweep_run(command, config, folder) for command, config in zip(commands, configs, strict=True)]


def _sweep_run(command: RunCommand, config: Config, folder: Path) -> SweepRun:
    """Return the run of `command` with the checked `config`, in the sweep's `folder`."""
    config = replace(config, name=folder_name(command.label), log=replace(config.log, dir=str(folder)))
    shared = (override for override in command.overrides if split_override(override)[0] not in ("name", "log.dir"))
    return SweepRun(config, (*shared, f"name={config.name}", f"log.dir={config.log.dir}"), command.swept)


def check_all(check: Callable[[Checked], Output], runs: Sequence[Checked]) -> list[Output]:
    """Return the result of `check` for each run. Raises `ConfigError` with all its errors, each with the runs concerned."""
    results: list[Output] = []
    refused: dict[str, list[str]] = {}
    for run in runs:
        try:
            results.append(check(run))
        except ConfigError as error:
            refused.setdefault(str(error), []).append(run.label)
    if refused:
        everywhere = ["every run"]
        wrong = {message: everywhere if len(labels) == len(runs) else labels for message, labels in refused.items()}
        raise ConfigError("\n".join(f"{message}\n  in {'; '.join(labels)}" for message, labels in wrong.items()))
    return results


def folder_name(label: str) -> str:
    """Return the name of a run folder: its label, or a shortened label with a hash where it is no valid name."""
    name = re.sub(r"[^\w.,=+\[\]-]", "-", label)
    if name == label and len(name) <= LONGEST_NAME and not name.startswith("."):
        return name
    return f"{name[:LONGEST_NAME].lstrip('.')}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _commands(overrides: Sequence[str]) -> list[RunCommand]:
    """Return the command line of each run with what it composes. Raises `ConfigError` for runs that do not differ."""
    commands = _split(overrides)
    values = [dict(map(split_override, command)) for command in commands]
    differing = [key for key in values[0] if len({each[key] for each in values}) > 1]
    swept = [{key: each[key] for key in differing} for each in values]
    _check_swept(swept)
    return [RunCommand(command, each, compose("config", command)) for command, each in zip(commands, swept, strict=True)]


def _split(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each run, as Hydra's basic sweeper splits them."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    try:
        with composing():
            composed = hydra.compose_config("config", list(overrides), RunMode.MULTIRUN, with_log_configuration=False).hydra
    except MissingConfigException as error:
        package = LAUNCHERS.get(str(error.missing_cfg_file))
        if package is None:
            raise
        launcher = str(error.missing_cfg_file).rpartition("/")[2]
        raise ConfigError(
            f"hydra/launcher={launcher}: the package {package} is not installed; install it, or leave hydra/launcher out to "
            "execute one run after another (docs/sweeps.md)"
        ) from error
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    parsed = parser.parse_overrides(composed.overrides.task)
    if (runs := prod(_values(override) for override in parsed)) > MOST_RUNS:
        raise ConfigError(f"--multirun: at least {runs:,} runs, and a sweep has at most {MOST_RUNS:,}; give fewer values")
    (commands,) = BasicSweeper.split_arguments(parsed, None)
    return [[_quoted_texts(parser, override) for override in command] for command in commands]


def _values(override: Override) -> int:
    """Return how many values the override has, counted as far as `MOST_RUNS`. Raises `ConfigError` if it has none."""
    if not override.is_sweep_override():
        return 1
    if not override.is_discrete_sweep():
        raise ConfigError(f"{override.input_line}: an interval has infinitely many values; name some, as in seed=1,2,3")
    try:
        count = sum(1 for _ in islice(override.sweep_iterator(), MOST_RUNS + 1))
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{override.input_line}: {error}; name some values, as in seed=1,2,3") from error
    if not count:
        raise ConfigError(f"{override.input_line}: this names no value; name some, as in seed=1,2,3")
    return count


def _quoted_texts(parser: OverridesParser, override: str) -> str:
    """Return the override with quotes instead of the sweeper's backslashes, which the run's command line reads as text."""
    key, value = split_override(override)
    if TYPES.get(key.lstrip("+")) not in (str, list[str]) or "\\" not in value:
        return override
    values = parser.parse_override(override).value()
    return f"{key}=[{','.join(map(quoted, values))}]" if isinstance(values, list) else f"{key}={quoted(str(values))}"


def _without_unused(commands: Sequence[RunCommand]) -> Sequence[RunCommand]:
    """Return the commands. A setting shared by all commands is left out of the runs in which it has no effect, if it has one in
    another run. A setting without effect in every run stays, and is refused later.
    """
    try:
        unused_keys = [{key for key, *_ in unused(typed(command.composed))} for command in commands]
    except ConfigError:  # `plan_runs` reports it with the names of its runs
        return commands
    droppable = unused_keys[0].union(*unused_keys) - unused_keys[0].intersection(*unused_keys)
    shared = set(commands[0].overrides).intersection(*(command.overrides for command in commands))

    def shortened(command: RunCommand, without: set[str]) -> RunCommand:
        dropped = {override for override in shared if split_override(override)[0] in droppable & without}
        overrides = [override for override in command.overrides if override not in dropped]
        return replace(command, overrides=overrides, composed=compose("config", overrides)) if dropped else command

    return [shortened(command, without) for command, without in zip(commands, unused_keys, strict=True)]


def _check_swept(swept: Sequence[dict[str, str]]) -> None:
    if len(swept) == 1:
        raise ConfigError("--multirun: no key has several values; give some, as in seed=1,2,3, or leave --multirun out")
    for key in WHOLE:
        if key in swept[0]:
            values = ",".join(dict.fromkeys(run[key] for run in swept))
            raise ConfigError(f"{key}={values}: it belongs to the sweep as a whole, not to its runs; give one value")
    labels = [label(run) for run in swept]
    if twice := sorted({name for name in labels if labels.count(name) > 1}):
        raise ConfigError(f"--multirun: {'; '.join(twice) or 'a run'} occurs more than once; give every value once")


def _sweep_folder(configs: Sequence[Config]) -> Path:
    """Return the folder of the sweep with runs of these `configs`: `name` in `log.dir`."""
    config = configs[0]
    if config.resume not in ("", AUTO):
        raise ConfigError(f"resume={config.resume}: a sweep is resumed by its name; give resume={AUTO} and name=NAME")
    if config.resume and not config.name:
        raise ConfigError(f"resume={AUTO}: no sweep is named; give name=NAME")
    folder = named_folder(config, config.name or dated_name("sweep"))
    check_free(folder, f"name={config.name}")
    if is_run(folder):
        raise ConfigError(f"name={config.name}: {folder} holds a single run; choose another name")
    if (folder / RECORD).exists() and not config.resume:
        resumable = all(map(may_resume, configs))
        remedies = f"choose another name, {f'remove it, or continue it with resume={AUTO}' if resumable else 'or remove it'}"
        raise ConfigError(f"name={config.name}: a sweep {folder} exists; {remedies}")
    return folder
