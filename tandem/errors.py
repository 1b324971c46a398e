"""Errors whose message says all that a user needs: they are shown without a traceback."""

from __future__ import annotations

from tandem.config.schema import ConfigError


class RunError(RuntimeError):
    """The run cannot go on; the message says what stopped it, and what would help."""


def plain_error(error: BaseException) -> ConfigError | RunError | None:
    """Return the innermost `ConfigError` or `RunError` that `error` is or was caused by; None if there is none.

    Ray wraps what an actor raises and keeps it as the attribute `cause`.
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
