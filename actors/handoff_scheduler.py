"""Turns that end in the engine's scheduler: the token that passes the pen is the last, and no step is spent on saying so.

vLLM takes a scheduler class by name (`scheduler_cls`) but keeps no promise about its methods: the one overridden here exists in
vLLM 0.32.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request, RequestStatus

from actors.carried_turn import carried_turn
from actors.engine_spec import EngineSpec
from tandem.schedule import Pen

_kv_peaks: list[float] = [0.0]
"""The largest share of the KV cache in use; one scheduler a process."""


def take_kv_peak() -> float:
    """The largest share of the KV cache that was in use since this was last asked."""
    peak, _kv_peaks[0] = _kv_peaks[0], 0.0
    return peak


class _EndsTurns(Scheduler):
    """Stops a request at the token after which the schedule passes the pen, as vLLM stops it at an end-of-sequence token."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        spec = EngineSpec.from_config(self.vllm_config)
        self._author, self._boundaries = spec.author, spec.boundaries().tolist()
        self._pens: WeakKeyDictionary[Request, tuple[object, Pen]] = WeakKeyDictionary()

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
        """vLLM's, noting how full the KV cache is."""
        scheduled = super().schedule(*args, **kwargs)
        _kv_peaks[0] = max(_kv_peaks[0], self.kv_cache_manager.usage)
        return scheduled

    def _passes(self, request: Request) -> bool:
        """Whether the pen passes after the request's last token; False for a request that carries no turn."""
        assert request.sampling_params is not None
        params, pen = self._pens.get(request, (None, None))
        if params is not request.sampling_params:  # another turn: each brings parameters of its own
            start = carried_turn(request.sampling_params)
            if start is None:
                return False
            pen = start.pen(self._author, self._boundaries)
            self._pens[request] = request.sampling_params, pen
        assert pen is not None
        # One token a step: speculative decoding is off.
        return pen.wrote(request.output_token_ids[-1]) != self._author


class HandoffScheduler(_EndsTurns):
    """vLLM's scheduler, ending turns."""


class AsyncHandoffScheduler(_EndsTurns, AsyncScheduler):
    """vLLM's scheduler for engines that prepare a step while the one before computes (GPUs), ending turns."""
