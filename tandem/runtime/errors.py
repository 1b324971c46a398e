"""Errors that are shown to the user without a traceback."""

from __future__ import annotations

from tandem.config.schema import ConfigError


class RunError(RuntimeError):
    """The run cannot continue. The message says what stopped it and how to fix it."""


def plain_error(error: BaseException) -> ConfigError | RunError | None:
    """Return the error in the chain of causes of `error` that is shown to the user; None if there is none.

    It is the outermost `ConfigError`, which may add a remedy to those below it, or else the innermost `RunError`. Ray wraps the
    exception of an actor and keeps it in the attribute `cause`.
    """
    run_error: RunError | None = None
    current: BaseException | None = error
    while current is not None:
        wrapped = getattr(current, "cause", None)
        if isinstance(wrapped, BaseException):
            current = wrapped
            continue
        if isinstance(current, ConfigError):
            return current
        if isinstance(current, RunError):
            run_error = current
        current = current.__cause__
    return run_error
