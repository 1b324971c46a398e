"""Errors that are shown to the user without a traceback."""

from __future__ import annotations

from tandem.config.schema import ConfigError


class RunError(RuntimeError):
    """The run cannot continue. The message says what stopped it and how to fix it."""


def plain_error(error: BaseException) -> ConfigError | RunError | None:
    """Return the innermost `ConfigError` or `RunError` in the chain of causes of `error`; None if there is none.

    Ray wraps the exception of an actor and keeps it in the attribute `cause`.
    """
    found: ConfigError | RunError | None = None
    current: BaseException | None = error
    while current is not None:
        wrapped = getattr(current, "cause", None)
        if isinstance(wrapped, BaseException):
            current = wrapped
            continue
        if isinstance(current, ConfigError | RunError):
            found = current
        current = current.__cause__
    return found
