"""Tests of which error of a chain of causes the user sees."""

from __future__ import annotations

import ray.exceptions
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.schema import ConfigError
from tandem.runtime.errors import RunError, plain_error


def _chain(kinds: list[type[Exception]], of_actors: list[bool]) -> list[BaseException]:
    """Return errors of `kinds`, each the cause of the one before; those `of_actors` as Ray raises them."""
    errors = [kind(f"error {index}") for index, kind in enumerate(kinds)]
    raised: list[BaseException] = []
    for error, of_actor in reversed(list(zip(errors, of_actors, strict=True))):
        error.__cause__ = raised[-1] if raised else None
        raised.append(ray.exceptions.RayTaskError("call", "traceback", error).as_instanceof_cause() if of_actor else error)
    return [raised[-1], *errors]


@given(st.lists(st.tuples(st.sampled_from([ConfigError, RunError, ValueError]), st.booleans()), min_size=1, max_size=5))
def test_outermost_configuration_error_or_innermost_run_error_is_shown(links: list[tuple[type[Exception], bool]]) -> None:
    kinds, of_actors = zip(*links, strict=True)
    error, *errors = _chain(list(kinds), list(of_actors))
    of_configuration = [each for each in errors if isinstance(each, ConfigError)]
    of_run = [each for each in errors if isinstance(each, RunError)]
    assert plain_error(error) is next(iter([*of_configuration, *reversed(of_run)]), None)
