"""What a configuration must satisfy beyond its types: choices, ranges, and combinations that make sense."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tandem.config.checks.authors import author_problems
from tandem.config.checks.bounds import bound_problems
from tandem.config.checks.data import data_problems
from tandem.config.checks.evaluation import evaluation_problems
from tandem.config.checks.learning import learning_problems
from tandem.config.checks.modes import mode_problems
from tandem.config.checks.rollouts import rollout_problems
from tandem.config.checks.unused import unused_problems

if TYPE_CHECKING:
    from tandem.config.schema import Config


def problems(config: Config) -> Iterator[str]:
    """Yield what is wrong with `config`, a line each: the key, its value, the remedy."""
    yield from bound_problems(config)
    yield from mode_problems(config)
    yield from author_problems(config)
    yield from data_problems(config.data)
    yield from rollout_problems(config)
    yield from learning_problems(config)
    yield from evaluation_problems(config)
    yield from unused_problems(config)
