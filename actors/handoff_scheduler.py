"""Schedulers that end a turn at the token that passes the pen, so that a handoff costs the engine no step.

vLLM takes a scheduler class by name (`scheduler_cls`) but does not promise to keep its methods: the private one overridden here
exists in vLLM 0.32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from vllm import SamplingParams
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request, RequestStatus

from actors.carried_pen import carried_pen
from actors.engine_spec import EngineSpec
from tandem.schedule import Pen

_kv_peaks: list[float] = [0.0]
"""The largest share of the KV cache in use; one scheduler a process."""


def take_kv_peak() -> float:
    """Return the largest share of the KV cache that was in use since the last call."""
    peak, _kv_peaks[0] = _kv_peaks[0], 0.0
    return peak


@dataclass(slots=True)
class _Turn:
    """The turn that a request writes."""

    params: SamplingParams
    """a new object for each turn"""
    pen: Pen


class _EndsTurns(Scheduler):
    """Stops a request at the token after which the schedule passes the pen, as vLLM stops it at an end-of-sequence token."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        spec = EngineSpec.from_config(self.vllm_config)
        self._author, self._boundaries = spec.author, spec.boundaries().tolist()
        self._turns: WeakKeyDictionary[Request, _Turn] = WeakKeyDictionary()

    def _update_request_with_output(
        self, request: Request, new_token_ids: list[int], is_stale: bool = False
    ) -> tuple[list[int], bool]:
        new_token_ids, stopped = super()._update_request_with_output(request, new_token_ids, is_stale)
        if not stopped and self._passes(request):
            # With asynchronous scheduling (GPUs) a token may come after its request was preempted; a session that stops then
            # would lose its text. Admission keeps vLLM from ever preempting a rollout.
            if request.status == RequestStatus.PREEMPTED:
                raise RuntimeError(f"{request.request_id} was preempted where the pen passes: too many rollouts are in flight")
            request.status = RequestStatus.FINISHED_STOPPED
            stopped = True
        return new_token_ids, stopped

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """Schedule a step as vLLM does, and record how full the KV cache is."""
        scheduled = super().schedule(*args, **kwargs)
        _kv_peaks[0] = max(_kv_peaks[0], self.kv_cache_manager.usage)
        return scheduled

    def _passes(self, request: Request) -> bool:
        """Whether the pen passes after the request's last token; False for a request that carries no turn."""
        params = request.sampling_params
        assert params is not None
        turn = self._turns.get(request)
        if turn is None or turn.params is not params:
            pen = carried_pen(params)
            if pen is None:
                return False
            turn = self._turns[request] = _Turn(params, pen)
        # One token a step: speculative decoding is off.
        turn.pen = turn.pen.after(self._boundaries[request.output_token_ids[-1]])
        return turn.pen.author != self._author


class HandoffScheduler(_EndsTurns):
    """vLLM's scheduler, which also ends turns."""


class AsyncHandoffScheduler(_EndsTurns, AsyncScheduler):
    """The same of vLLM's scheduler for engines that prepare a step while the one before computes (GPUs)."""
