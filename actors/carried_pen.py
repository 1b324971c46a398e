"""How a pen travels with a request into the engine's process."""

from __future__ import annotations

from typing import Any

from vllm import SamplingParams

from tandem.schedule import Pen, Schedule

_KEY = "pen"


def carrying(pen: Pen) -> dict[str, Any]:
    """Return the `SamplingParams.extra_args` of a request that is to follow the schedule from `pen`."""
    return {_KEY: [list(pen.schedule), *pen[1:]]}


def carried_pen(params: SamplingParams) -> Pen | None:
    """Return the pen that a request carries, or None. Raises `ValueError` when it carries something else under that name."""
    carried = (params.extra_args or {}).get(_KEY)
    if carried is None:
        return None
    if len(carried) != len(Pen._fields) or len(carried[0]) != len(Schedule._fields):
        raise ValueError(f"extra_args[{_KEY!r}] must hold {Pen._fields}, the first as {Schedule._fields}; not {carried}")
    schedule, *state = carried
    return Pen(Schedule(*schedule), *state)
