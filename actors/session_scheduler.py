"""A scheduler of sessions, which keeps them between their turns and gives their KV cache to older ones where it is short.

vLLM frees the KV blocks of a running request where another lacks some, but never those of a session that waits for its next
turn: sessions that wait in two engines could wait for each other forever. The private methods overridden here exist in vLLM
0.32.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.core.kv_cache_manager import KVCacheBlocks
from vllm.v1.core.sched.output import CachedRequestData, NewRequestData, SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.core.single_type_kv_cache_manager import FullAttentionManager
from vllm.v1.request import Request, RequestStatus, StreamingUpdate

_NOT_RUNNING = (RequestStatus.WAITING_FOR_STREAMING_REQ, RequestStatus.WAITING)


class SessionScheduler(Scheduler):
    """vLLM's scheduler, in which a request gets KV blocks before all younger ones, whatever those are doing.

    A request that lost its blocks reads its whole text again before it continues. The age of a rollout is the same in all
    engines (`Request.priority`), so the oldest rollout always continues, and each becomes the oldest: none waits forever.
    Sessions that wait for a turn are not in vLLM's waiting queue, which is read whole at every step. With a turn they return to
    the running requests at once where nothing older waits: scheduling a request from the queue takes several times as long.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting_sessions: set[Request] = set()
        """those that wait for a turn"""
        self._evicted: set[Request] = set()
        """those of them that have no KV blocks"""
        self._returned: dict[Request, int] = {}
        """the running requests with a turn that is not yet scheduled, and the tokens to read in it"""
        self._returned_data: list[NewRequestData] = []
        """those of them that this step schedules, as the workers receive new requests"""
        self.preemptions = 0
        """how often a request lost its KV blocks since the last `kv_use`"""
        self._allocate = self.kv_cache_manager.allocate_slots
        self.kv_cache_manager.allocate_slots = self._allocate_or_evict
        managers = self.kv_cache_manager.coordinator.single_type_managers
        keeps_all = self.connector is None and [type(manager) for manager in managers] == [FullAttentionManager]
        self._blocks = managers[0] if keeps_all and not self.kv_cache_manager.watermark_blocks else None
        """the KV blocks of all requests; None unless every layer keeps the whole text in this cache"""

    def _allocate_or_evict(self, request: Request, tokens: int, **kwargs: Any) -> KVCacheBlocks | None:
        """Allocate KV blocks as vLLM does; where too few are free, evict younger requests that are not running."""
        if self._has_room(request, tokens):
            return self.kv_cache_manager.empty_kv_cache_blocks
        while (blocks := self._allocate(request, tokens, **kwargs)) is None:
            if not request < (youngest := max(filter(self._is_evictable, self.requests.values()), default=request)):
                return None
            self._evict(youngest)
        return blocks

    def _has_room(self, request: Request, tokens: int) -> bool:
        """Whether `tokens` more, and all known ones, fit in the blocks that `request` holds, and fill no further block.

        Then vLLM changes nothing, but takes a third of the scheduler's time to find that out. This is so at most steps.
        """
        computed, blocks = request.num_computed_tokens, self._blocks
        if blocks is None or not computed:
            return False
        name, size, end, known = request.request_id, blocks.block_size, computed + tokens, request.num_tokens
        room = size * len(blocks.req_to_blocks.get(name, ()))
        full_blocks = min(end, known) // size
        return max(end + self.num_lookahead_tokens, known) <= room and full_blocks <= blocks.num_cached_block.get(name, 0)

    def _is_evictable(self, request: Request) -> bool:
        return request.status in _NOT_RUNNING and request.num_computed_tokens > 0 and request not in self._evicted

    def _evict(self, request: Request) -> None:
        self.kv_cache_manager.free(request)
        request.num_preemptions += 1
        self.preemptions += 1
        if request in self._waiting_sessions:
            self._evicted.add(request)  # `num_computed_tokens` still says how much of its text the session keeps
        else:
            request.num_computed_tokens = 0

    def _preempt_request(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super()._preempt_request(request, *args, **kwargs)
        self.preemptions += 1
        if self._returned.pop(request, None):
            request.status = RequestStatus.WAITING  # workers would continue a preempted request without the turn's tokens

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """Schedule a step as vLLM does; new turns are sent to the workers as new requests."""
        scheduled = super().schedule(*args, **kwargs)
        scheduled.scheduled_new_reqs += self._returned_data
        self._returned_data = []
        return scheduled

    def _make_cached_request_data(self, running: list[Request], *args: Any, **kwargs: Any) -> CachedRequestData:
        others = [request for request in running if request not in self._returned]
        for request in running:
            if not self._returned.pop(request, None):
                continue
            blocks = self.kv_cache_manager.get_block_ids(request.request_id)
            text = request._all_token_ids if self.use_v2_model_runner else None
            data = NewRequestData.from_request(request, blocks, text, uses_mrope=self.model_uses_mrope)
            self._returned_data.append(data)
        return super()._make_cached_request_data(others, *args, **kwargs)

    def _update_request_as_session(self, session: Request, update: StreamingUpdate) -> None:
        super()._update_request_as_session(session, update)
        if session in self._evicted:
            self._evicted.remove(session)
            session.num_computed_tokens = 0
        if session in self._waiting_sessions:
            self._waiting_sessions.remove(session)
            if self._returns_at_once(session):
                session.status = RequestStatus.RUNNING
                self.running.append(session)
                self._returned[session] = session.num_tokens - session.num_computed_tokens
            else:
                self._enqueue_waiting_request(session)

    def _returns_at_once(self, session: Request) -> bool:
        """Whether `session` need not wait in vLLM's queue for its turn: it has KV blocks, nothing older waits, and it fits.

        vLLM cuts the text of running requests to its budget of tokens, also where chunked prefill is off.
        """
        if self.connector is not None or self.num_spec_tokens or not session.num_computed_tokens:
            return False
        if self.waiting and not session < self.waiting.peek_request():
            return False
        tokens = session.num_tokens - session.num_computed_tokens + sum(self._returned.values()) + len(self.running)
        return self.scheduler_config.enable_chunked_prefill or tokens <= self.max_num_scheduled_tokens

    def _enqueue_waiting_request(self, request: Request) -> None:
        if request.status == RequestStatus.WAITING_FOR_STREAMING_REQ:
            self._waiting_sessions.add(request)
        elif request.resumable:
            self.waiting.add_request(request)  # by age: vLLM would let those that hold KV blocks pass
        else:
            super()._enqueue_waiting_request(request)

    def _handle_stopped_request(self, request: Request) -> bool:
        # With asynchronous scheduling (GPUs) the last token of a turn may come after the request was preempted.
        preempted = not request.num_computed_tokens
        if preempted:
            request.num_computed_tokens = request.num_tokens - 1
        finished = super()._handle_stopped_request(request)
        if preempted and not finished:
            self._evicted.add(request)
        return finished

    def get_request_counts(self) -> tuple[int, int]:
        """Return the numbers of running and of waiting requests, among them the sessions that wait for a turn."""
        running, waiting = super().get_request_counts()
        return running, waiting + len(self._waiting_sessions)

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        self._waiting_sessions.discard(request)
        self._returned.pop(request, None)
        self._evicted.discard(request)
        return super()._free_request(request, *args, **kwargs)
