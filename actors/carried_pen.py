"""How a pen, and the session it passes to, travel with a request into the engine's process."""

from __future__ import annotations

from typing import Any, NamedTuple

from vllm import SamplingParams

from tandem.schedule import Pen, Schedule

_PEN, _PARTNER = "pen", "partner"


class Partner(NamedTuple):
    """The session of a rollout's other author, to which the engine passes the pen without the rollout actor."""

    address: str
    """of its engine (see `actors.partner_link.turns_address`)"""
    request_id: str
    """empty before the first turn: then the rollout actor passes the pen"""


def carrying(pen: Pen, partner: Partner | None = None) -> dict[str, Any]:
    """Return the `SamplingParams.extra_args` of a request that is to follow the schedule from `pen`."""
    return {_PEN: [list(pen.schedule), *pen[1:]], _PARTNER: partner}


def carried_pen(params: SamplingParams) -> Pen | None:
    """Return the pen that a request carries, or None. Raises `ValueError` when it carries something else under that name."""
    carried = (params.extra_args or {}).get(_PEN)
    if carried is None:
        return None
    if len(carried) != len(Pen._fields) or len(carried[0]) != len(Schedule._fields):
        raise ValueError(f"extra_args[{_PEN!r}] must hold {Pen._fields}, the first as {Schedule._fields}; not {carried}")
    schedule, *state = carried
    return Pen(Schedule(*schedule), *state)


def carried_partner(params: SamplingParams) -> Partner | None:
    """Return the partner that a request carries, or None."""
    carried = (params.extra_args or {}).get(_PARTNER)
    return Partner(*carried) if carried else None
