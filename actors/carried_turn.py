"""How a turn's start travels with a request into the engine's process."""

from __future__ import annotations

from typing import Any

from vllm import SamplingParams

from tandem.schedule import TurnStart

_KEY = "turn"


def carrying(start: TurnStart) -> dict[str, Any]:
    """The `SamplingParams.extra_args` of a request that is to follow the schedule from `start`."""
    return {_KEY: list(start)}


def carried_turn(params: SamplingParams) -> TurnStart | None:
    """The turn that a request carries, if it does. Raises `ValueError` when it carries something else under that name."""
    turn = (params.extra_args or {}).get(_KEY)
    if turn is not None and len(turn) != len(TurnStart._fields):
        raise ValueError(f"extra_args[{_KEY!r}] must hold {TurnStart._fields}, not {turn}")
    return TurnStart(*turn) if turn is not None else None
