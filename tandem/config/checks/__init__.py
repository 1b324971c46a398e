"""Checks of a configuration beyond its types: each value by itself, then each section's combinations of settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tandem.config.checks.data import data_errors
from tandem.config.checks.evaluation import evaluation_errors
from tandem.config.checks.learner import learner_errors
from tandem.config.checks.models import model_errors
from tandem.config.checks.rollout import rollout_errors
from tandem.config.checks.run import run_errors
from tandem.config.checks.unused import unused_errors
from tandem.config.checks.values import value_errors

if TYPE_CHECKING:
    from tandem.config.schema import Config


def config_errors(config: Config) -> Iterator[str]:
    """Yield a line for each error in `config`: the key, its value, the remedy."""
    yield from value_errors(config)
    yield from run_errors(config)
    yield from model_errors(config)
    yield from data_errors(config.data)
    yield from rollout_errors(config)
    yield from learner_errors(config)
    yield from evaluation_errors(config)
    yield from unused_errors(config)
