"""Checks of a configuration beyond its types: each value by itself, then each section's combinations of settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tandem.config.checks.data import data_problems
from tandem.config.checks.evaluation import evaluation_problems
from tandem.config.checks.learner import learner_problems
from tandem.config.checks.models import model_problems
from tandem.config.checks.rollout import rollout_problems
from tandem.config.checks.run import run_problems
from tandem.config.checks.unused import unused_problems
from tandem.config.checks.values import value_problems

if TYPE_CHECKING:
    from tandem.config.schema import Config


def problems(config: Config) -> Iterator[str]:
    """Yield a line for each problem of `config`: the key, its value, the remedy."""
    yield from value_problems(config)
    yield from run_problems(config)
    yield from model_problems(config)
    yield from data_problems(config.data)
    yield from rollout_problems(config)
    yield from learner_problems(config)
    yield from evaluation_problems(config)
    yield from unused_problems(config)
