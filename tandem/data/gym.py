"""Endless problems from a mix of reasoning_gym's tasks, each with the entry that the scorer of its task needs."""

from __future__ import annotations

import hashlib
from difflib import get_close_matches
from random import Random
from typing import Any

from reasoning_gym.factory import DATASETS, create_dataset

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.rollout import Problem
from tandem.verify.gym import gold

_SEEDS = 2**31
"""The number of seeds. Some tasks seed numpy, which takes 32 bits."""
_OURS = ("seed", "size")
"""Options that the user cannot set: each problem is a dataset of size 1 with its own seed."""


class Mix:
    """A source of problems from `data.tasks`, drawn in proportion to `data.task_weights`.

    A problem's id names its task and a hash of its question. A question that a task generates twice is the same problem, so
    that it is on one side of the split only. Raises `ConfigError` for a task or an option that does not exist.
    """

    def __init__(self, data: DataConfig) -> None:
        self._tasks = data.tasks
        self._weights = data.task_weights or [1.0] * len(data.tasks)
        for task, options in data.task_options.items():
            if not isinstance(options or {}, dict):
                raise ConfigError(
                    f"data.task_options.{task}={options}: give the task's options by name, as in {{max_terms: 3}}"
                )
            if task not in data.tasks:
                raise ConfigError(f"data.task_options.{task}: {task} is not among data.tasks={data.tasks}")
        self._options = {task: dict(data.task_options.get(task) or {}) for task in data.tasks}
        for task, options in self._options.items():
            _check(task, options)

    def draw(self, random: Random) -> Problem:
        """Draw a task and generate a problem of it. The result depends on `random` alone."""
        [task] = random.choices(self._tasks, self._weights)
        return _generate(task, self._options[task], random.randrange(_SEEDS))


def _generate(task: str, options: dict[str, Any], seed: int) -> Problem:
    # A dataset of size 1: the tasks differ in the largest size they allow, but all take the same seeds.
    entry = create_dataset(task, **options, seed=seed, size=1)[0]
    digest = hashlib.blake2b(entry["question"].encode(), digest_size=8).hexdigest()
    return Problem(id=f"reasoning_gym/{task}/{digest}", question=entry["question"], answer=gold(task, options, entry))


def _check(task: str, options: dict[str, Any]) -> None:
    """Raise `ConfigError` unless `task` exists and generates a problem with `options`."""
    if task not in DATASETS or task == "composite":  # itself a mix
        similar = get_close_matches(task, DATASETS, n=3)
        meant = f"; did you mean {' or '.join(similar)}?" if similar else f"; choose among {', '.join(sorted(DATASETS))}"
        raise ConfigError(f"data.tasks: reasoning_gym has no task {task!r}{meant}")
    for option in _OURS:
        if option in options:
            raise ConfigError(f"data.task_options.{task}.{option}: every problem has its own; leave it out")
    try:
        _generate(task, options, seed=0)
    except (AssertionError, TypeError, ValueError) as error:  # what the tasks raise for a wrong option or value
        raise ConfigError(f"data.task_options.{task}={options}: {error}; see the task's configuration") from error
