"""Schedulers that end a turn at the token that passes the pen, so that a handoff costs the engine no step.

vLLM takes a scheduler class by name (`scheduler_cls`) but does not promise to keep its methods: the private ones overridden
here exist in vLLM 0.32.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus, StreamingUpdate
from vllm.v1.spec_decode.metrics import SpecDecodingStats

from actors.admission import KVUse
from actors.carried_pen import carried_pen
from actors.engine_spec import EngineSpec
from actors.session_scheduler import SessionScheduler
from actors.turn_messages import BegunTurn, WrittenPart, begun_turns, written_output
from tandem.schedule import Pen

_drafts: list[int] = [0, 0]
"""The numbers of drafted and of accepted tokens since the start."""
_schedulers: list[_TurnEndingScheduler] = []
"""The scheduler of this process."""


def kv_use() -> KVUse:
    """Return the use of the KV cache since the last call; the share now in use counts."""
    (scheduler,) = _schedulers
    now = scheduler.kv_cache_manager.usage
    use = KVUse(max(scheduler.kv_peak, now), scheduler.preemptions)
    scheduler.kv_peak, scheduler.preemptions = now, 0
    return use


def drafts() -> tuple[int, int]:
    """Return the numbers of drafted and of accepted tokens since the start."""
    drafted, accepted = _drafts
    return drafted, accepted


@dataclass(slots=True)
class _Turn:
    """The turn that a request writes, or the last one that it wrote."""

    author: int
    """the request's"""
    pen: Pen
    is_session: bool
    """whether more turns may follow"""
    tokens: list[int] = field(default_factory=list)
    """written and not yet returned"""
    logprobs: list[float] = field(default_factory=list)


class _TurnEndingScheduler(SessionScheduler):
    """Stops a request at the token after which the schedule passes the pen, as vLLM stops it at an end-of-sequence token.

    Turns of sessions begin and end many to a message (`actors/turn_messages.py`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _schedulers[:] = [self]
        self.kv_peak = 0.0
        """the largest share of the KV cache in use since the last `kv_use`"""
        spec = EngineSpec.from_config(self.vllm_config)
        self._boundaries, self._interval = spec.boundaries().tobytes(), spec.stream_interval
        self._turns: dict[str, _Turn] = {}
        """by request"""
        self._others: set[str] = set()
        """the requests that are no sessions"""

    # The beginning of a turn

    def add_request(self, request: Request) -> None:
        """Add a request, or begin the turns that it holds."""
        if (turns := begun_turns(request)) is not None:
            for turn in turns:
                if session := self.requests.get(turn.request_id):  # else its rollout was cancelled
                    self._begin(session, turn)
            return
        super().add_request(request)
        assert request.sampling_params is not None
        if pen := carried_pen(request.sampling_params):
            self._turns[request.request_id] = _Turn(pen.author, pen, request.resumable)
        if not (pen and request.resumable):
            self._others.add(request.request_id)

    def _begin(self, session: Request, begun: BegunTurn) -> None:
        turn, params = self._turns[begun.request_id], session.sampling_params
        assert params is not None
        turn.pen = Pen(turn.pen.schedule, turn.pen.seed, turn.author, *begun.state)
        params.max_tokens = begun.budget
        self._update_request_as_session(
            session, StreamingUpdate(None, begun.tokens, begun.budget, session.arrival_time, params)
        )

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        self._turns.pop(request.request_id, None)
        self._others.discard(request.request_id)
        return super()._free_request(request, *args, **kwargs)

    # The end of a turn

    def _update_request_with_output(
        self, request: Request, new_token_ids: list[int], is_stale: bool = False
    ) -> tuple[list[int], bool]:
        new_token_ids, stopped = super()._update_request_with_output(request, new_token_ids, is_stale)
        if not stopped and self._passes(request):
            request.status = RequestStatus.FINISHED_STOPPED
            stopped = True
        return new_token_ids, stopped

    def _passes(self, request: Request) -> bool:
        """Whether the pen passes after the request's last token; False for a request that carries no turn."""
        turn = self._turns.get(request.request_id)
        if turn is None:
            return False
        # A step brings one token. A draft brings several, but only where the senior writes alone.
        turn.pen = turn.pen.after(self._boundaries[request.output_token_ids[-1]])
        return turn.pen.author != turn.author

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """Process a step's output as vLLM does, and join what sessions have to return."""
        logprobs = model_runner_output.logprobs
        if not self._others:  # vLLM would cut them in pieces, one for each request
            model_runner_output.logprobs = None
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        sampled = logprobs.logprobs[:, 0].tolist() if logprobs else []
        rows = model_runner_output.req_id_to_index
        if logprobs and (first_rows := logprobs.cu_num_generated_tokens):  # a request has a row for each of its tokens
            rows = {request_id: first_rows[index] for request_id, index in rows.items()}
        for batch in outputs.values():
            batch.outputs = self._joined(batch.outputs, rows, sampled)
        return {client: batch for client, batch in outputs.items() if batch.outputs or batch.scheduler_stats}

    def _joined(self, outputs: list[EngineCoreOutput], rows: dict[str, int], sampled: list[float]) -> list[EngineCoreOutput]:
        """Return `outputs` with those of sessions joined to at most one.

        `sampled` are the log-probabilities of all rows, and `rows` the first of each request.
        """
        others: list[EngineCoreOutput] = []
        parts: list[WrittenPart] = []
        for output in outputs:
            turn, tokens = self._turns.get(output.request_id), output.new_token_ids
            if turn is None or not turn.is_session:
                others.append(output)
                continue
            turn.tokens += tokens
            row = rows[output.request_id]
            turn.logprobs += sampled[row : row + len(tokens)]
            if output.finish_reason is not None or len(turn.tokens) >= self._interval:
                parts.append(WrittenPart(output.request_id, turn.tokens, turn.logprobs, output.finish_reason))
                turn.tokens, turn.logprobs = [], []
        return [*others, written_output(parts)] if parts else others

    def make_spec_decoding_stats(
        self,
        spec_decoding_stats: SpecDecodingStats | None,
        num_draft_tokens: int,
        num_accepted_tokens: int,
        *args: Any,
        **kwargs: Any,
    ) -> SpecDecodingStats | None:
        """Count drafted and accepted tokens."""
        _drafts[0] += num_draft_tokens
        _drafts[1] += num_accepted_tokens
        return super().make_spec_decoding_stats(spec_decoding_stats, num_draft_tokens, num_accepted_tokens, *args, **kwargs)

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """Schedule a step as vLLM does, and record how full the KV cache is."""
        scheduled = super().schedule(*args, **kwargs)
        self.kv_peak = max(self.kv_peak, self.kv_cache_manager.usage)
        return scheduled


class HandoffScheduler(_TurnEndingScheduler):
    """vLLM's scheduler, which also ends turns."""


class AsyncHandoffScheduler(_TurnEndingScheduler, AsyncScheduler):
    """The same for vLLM's asynchronous scheduler, which prepares a step while the previous one runs (GPUs)."""
