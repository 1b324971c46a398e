"""Schedulers that end a turn at the token that passes the pen, and pass it to the partner's engine.

vLLM takes a scheduler class by name (`scheduler_cls`) but does not promise to keep its methods: the private ones overridden
here exist in vLLM 0.32.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus, StreamingUpdate
from vllm.v1.spec_decode.metrics import SpecDecodingStats

from actors.admission import KVUse
from actors.carried_pen import Partner, carried_partner, carried_pen
from actors.engine_spec import EngineSpec
from actors.partner_link import PartnerLink, turns_address
from actors.session_scheduler import SessionScheduler
from actors.turn_messages import BegunTurn, WrittenPart, begun_turns, written_output
from tandem.runtime.processes import end_with_parent
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
    partner: Partner | None = None
    """the session that gets the pen next; None: the rollout actor passes every turn"""
    passed: bool = False
    """whether the pen was sent to the partner after this turn"""


class _TurnEndingScheduler(SessionScheduler):
    """Stops a request at the token after which the schedule passes the pen, as vLLM stops it at an end-of-sequence token.

    Turns of sessions begin and end many to a message (`actors/turn_messages.py`). Between linked sessions the pen passes from
    engine to engine: the rollout actor begins only the first turn of each author, and receives reports of the others.
    """

    IDLE_MS: ClassVar = 5
    """How long a step waits for turns of other engines while no session can write. Messages of the rollout actor wait as
    long."""
    REPORT_S: ClassVar = 0.01
    """How long the ends of turns that need no answer wait to be reported to the rollout actor in one message, where the engine
    collects reports."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        end_with_parent()  # without its rollout actor, an engine would only hold memory
        _schedulers[:] = [self]
        self.kv_peak = 0.0
        """the largest share of the KV cache in use since the last `kv_use`"""
        spec = EngineSpec.from_config(self.vllm_config)
        self._boundaries, self._interval = spec.boundaries().tobytes(), spec.stream_interval
        self._collects = spec.collects_reports
        self._turns: dict[str, _Turn] = {}
        """by request"""
        self._others: set[str] = set()
        """the requests that are no sessions"""
        self._link = PartnerLink(turns_address(os.getpid(), spec.seed))
        self._with_partner: set[str] = set()
        """the sessions that wait for their partner"""
        self._passing: defaultdict[str, list[BegunTurn]] = defaultdict(list)
        """the turns to pass after this step, by address"""
        self._report: list[WrittenPart] = []
        """the parts that the rollout actor has not received"""
        self._report_at = 0.0
        """when to send them, on the clock of `time.monotonic`"""

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
            partner = carried_partner(request.sampling_params)
            self._turns[request.request_id] = _Turn(pen.author, pen, request.resumable, partner=partner)
        if not (pen and request.resumable):
            self._others.add(request.request_id)

    def _begin(self, session: Request, begun: BegunTurn) -> None:
        turn, params = self._turns[begun.request_id], session.sampling_params
        assert params is not None
        turn.passed = False
        if turn.partner and not turn.partner.request_id:
            turn.partner = turn.partner._replace(request_id=begun.sender)
        self._with_partner.discard(begun.request_id)
        # vLLM discards the last token of a turn, because it has not computed its KV entries.
        tokens = begun.tokens if begun.retracts else [session.output_token_ids[-1], *begun.tokens]
        turn.pen = Pen(turn.pen.schedule, turn.pen.seed, turn.author, *begun.state)
        params.max_tokens = begun.budget
        self._update_request_as_session(session, StreamingUpdate(None, tokens, begun.budget, session.arrival_time, params))

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        self._turns.pop(request.request_id, None)
        self._others.discard(request.request_id)
        self._with_partner.discard(request.request_id)
        return super()._free_request(request, *args, **kwargs)

    # The end of a turn

    def _update_request_with_output(
        self, request: Request, new_token_ids: list[int], is_stale: bool = False
    ) -> tuple[list[int], bool]:
        new_token_ids, stopped = super()._update_request_with_output(request, new_token_ids, is_stale)
        if not stopped and self._passes(request):
            request.status = RequestStatus.FINISHED_STOPPED
            stopped = True
            self._pass(request)
        return new_token_ids, stopped

    def _passes(self, request: Request) -> bool:
        """Whether the pen passes after the request's last token; False for a request that carries no turn."""
        turn = self._turns.get(request.request_id)
        if turn is None:
            return False
        # A step brings one token. A draft brings several, but only where the senior writes alone.
        turn.pen = turn.pen.after(self._boundaries[request.output_token_ids[-1]])
        return turn.pen.author != turn.author

    def _pass(self, request: Request) -> None:
        """Pass the pen of `request`, whose turn has ended, to its partner if that is known."""
        turn = self._turns[request.request_id]
        if turn.partner is None:
            return
        self._with_partner.add(request.request_id)
        if not turn.partner.request_id:
            return
        tokens, sender = request.output_token_ids.copy(), request.request_id
        begun = BegunTurn(turn.partner.request_id, tokens, request.max_tokens - len(tokens), turn.pen[3:], sender=sender)
        self._passing[turn.partner.address].append(begun)
        turn.passed = True

    # The way to the partner's engine

    def has_requests(self) -> bool:
        """Whether a step is needed, also to receive the turns of other engines and to report to the rollout actor."""
        may_receive = self._with_partner and self.pause_state is PauseState.UNPAUSED
        return super().has_requests() or bool(may_receive or self._report)

    def _begin_passed_turns(self) -> None:
        """Begin the turns that other engines have passed. If no session can write, wait for some first."""
        if not self._with_partner:
            return
        if not (self.running or self.waiting):
            self._link.wait(self.IDLE_MS)
        for turn in self._link.received():
            if session := self.requests.get(turn.request_id):  # else its rollout was cancelled
                self._begin(session, turn)

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """Process a step's output as vLLM does, and join what sessions have to return."""
        logprobs = model_runner_output.logprobs
        if not self._others:  # vLLM would cut them in pieces, one for each request
            model_runner_output.logprobs = None
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        for address, turns in self._passing.items():
            self._link.send(address, turns)
        self._passing.clear()
        sampled = logprobs.logprobs[:, 0].tolist() if logprobs else []
        rows = model_runner_output.req_id_to_index
        if logprobs and (first_rows := logprobs.cu_num_generated_tokens):  # a request has a row for each of its tokens
            rows = {request_id: first_rows[index] for request_id, index in rows.items()}
        for batch in outputs.values():
            batch.outputs = self._others_of(batch.outputs, rows, sampled)
        if self._report and (time.monotonic() >= self._report_at or not (self.running or self.waiting or self._with_partner)):
            outputs.setdefault(0, EngineCoreOutputs()).outputs.append(written_output(self._report))
            self._report = []
        return {client: batch for client, batch in outputs.items() if batch.outputs or batch.scheduler_stats}

    def _others_of(self, outputs: list[EngineCoreOutput], rows: dict[str, int], sampled: list[float]) -> list[EngineCoreOutput]:
        """Return those of `outputs` that are not of sessions, and add what sessions have written to the report.

        `sampled` are the log-probabilities of all rows, and `rows` the first of each request.
        """
        others: list[EngineCoreOutput] = []
        for output in outputs:
            turn, tokens = self._turns.get(output.request_id), output.new_token_ids
            if turn is None or not turn.is_session:
                others.append(output)
                continue
            turn.tokens += tokens
            row = rows[output.request_id]
            turn.logprobs += sampled[row : row + len(tokens)]
            if output.finish_reason is not None or len(turn.tokens) >= self._interval:
                part = WrittenPart(output.request_id, turn.tokens, turn.logprobs, output.finish_reason, turn.passed)
                if not (part.passed and self._collects):
                    self._report_at = 0.0
                elif not self._report:
                    self._report_at = time.monotonic() + self.REPORT_S
                self._report.append(part)
                turn.tokens, turn.logprobs = [], []
        return others

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
        self._begin_passed_turns()
        scheduled = super().schedule(*args, **kwargs)
        self.kv_peak = max(self.kv_peak, self.kv_cache_manager.usage)
        return scheduled


class HandoffScheduler(_TurnEndingScheduler):
    """vLLM's scheduler, which also ends turns."""


class AsyncHandoffScheduler(_TurnEndingScheduler, AsyncScheduler):
    """The same for vLLM's asynchronous scheduler, which prepares a step while the previous one runs (GPUs)."""
