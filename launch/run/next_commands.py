"""The commands that one wants after a run. Each is checked as its program would; none that it refuses is proposed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from launch.command_line import is_training, training_arguments, training_command
from launch.entry import UNUSABLE, composition, configuration
from launch.evaluation.evaluate import measured_authors
from launch.evaluation.measured_run import settings_of_run
from launch.evaluation.settings import check_evaluation
from launch.evaluation.training_measures import check_measures
from launch.run.given_groups import find_saved_steps
from launch.run.stopping import stop_reason
from launch.storage.resume import find_resumption
from tandem.config.load import load
from tandem.config.schema import Config

_PLAIN = re.compile(r"[\w./:-]+")
"""Texts that need no quotes in a list, neither in the shell nor in Hydra."""


def next_commands(config: Config, folder: Path, rows: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return the commands that one wants after the run in `folder`, whose metrics are `rows`, and the purpose of each."""
    commands = {shlex.join(["python", "launch/report.py", str(folder)]): "every curve and rollout in one HTML file"}
    if evaluation := _first(_evaluations(config, folder), _evaluates):
        commands[shlex.join(["python", "launch/evaluate.py", *evaluation])] = "measure the senior"
    if is_training() and (longer := _first(_longer_runs(config, folder), lambda arguments: _trains_on(arguments, rows))):
        commands[training_command(longer)] = "train on"
    return commands


def learner_command(folder: Path) -> str | None:
    """Return the command that learns from the rollouts of this process's run in `folder`; None if there is none."""
    arguments = _first(_learner_runs(folder), _learns) if is_training() else None
    return training_command(arguments) if arguments else None


def _first(candidates: Iterable[list[str]], accepts: Callable[[list[str]], bool]) -> list[str] | None:
    """Return the first of `candidates`, each the arguments of a program, that it accepts; None without one."""
    for arguments in candidates:
        try:
            if accepts(arguments):
                return arguments
        except (*UNUSABLE, OSError):  # the run has its results, whatever is wrong with this proposal
            continue
    return None


def _evaluations(config: Config, folder: Path) -> Iterator[list[str]]:
    """Yield the arguments of evaluations of the run's senior, the most complete first."""
    arguments = [f"senior={folder}", "eval=full"]
    own_schedule = f"eval.handoff=[{{name: {'word' if config.schedule.name == 'solo' else config.schedule.name}}}]"
    yield arguments
    yield [*arguments, own_schedule]
    if len(config.junior) > 1:
        yield [*arguments, *_one_junior(config)]
        yield [*arguments, *_one_junior(config), own_schedule]
    yield [*arguments, "eval.measures=[solo]"]


def _one_junior(config: Config) -> list[str]:
    """Return the overrides that choose the first of several juniors."""
    name = config.junior[0]
    overrides = [f"junior=[{name if _PLAIN.fullmatch(name) else QuotedString(name, Quote.double).with_quotes()}]"]
    overrides += ["junior_weights=[]"] if config.junior_weights else []
    return overrides + ([f"junior_dtypes=[{config.junior_dtypes[0]}]"] if config.junior_dtypes else [])


def _evaluates(arguments: list[str]) -> bool:
    """Whether launch/evaluate.py takes a measure with these arguments. Raises the error with which it refuses them."""
    measured_authors(check_evaluation(load(settings_of_run(composition(arguments), arguments))))
    return True


def _longer_runs(config: Config, folder: Path) -> Iterator[list[str]]:
    """Yield the arguments of longer runs, the simplest first."""
    resume, steps = f"resume={folder}", f"steps={2 * config.steps}"
    patience = f"stop.patience={2 * config.stop.patience}"
    for overrides in ([resume, steps], [resume, patience], [resume, patience, steps]):
        yield training_arguments(*overrides)


def _trains_on(arguments: list[str], rows: Sequence[Mapping[str, float]]) -> bool:
    """Whether launch/train.py takes a step with these arguments, after a run with the metrics `rows`.

    Raises the error with which it refuses them.
    """
    config = configuration(arguments)
    check_measures(config)
    checkpoint = find_resumption(config, verify=False).checkpoint
    if checkpoint is None or checkpoint.step >= config.steps:
        return False
    return not stop_reason(config.stop, [row for row in rows if row["step"] <= checkpoint.step])


def _learner_runs(folder: Path) -> Iterator[list[str]]:
    """Yield the arguments of runs that learn from the rollouts in `folder`, the simplest first."""
    learner_only, unset = f"learner_only={folder}", ("rollouts_only", "log.rollouts")
    yield training_arguments(learner_only, without=unset)
    yield training_arguments(*(f"{key}=false" for key in unset), learner_only)  # a configuration file sets them


def _learns(arguments: list[str]) -> bool:
    """Whether launch/train.py learns with these arguments. Raises the error with which it refuses them."""
    return bool(find_saved_steps(configuration(arguments)))
