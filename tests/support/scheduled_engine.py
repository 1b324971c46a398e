"""An engine without a process or a model: vLLM's real scheduler and wire format, with a function that writes the tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar
from unittest.mock import patch

import numpy as np
import torch
from vllm.renderers import renderer_from_config
from vllm.utils.hashing import get_hash_fn_by_name
from vllm.v1.core.kv_cache_manager import KVCacheBlocks
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import EngineCoreOutputs, EngineCoreRequest, EngineCoreRequestType
from vllm.v1.engine.input_processor import InputProcessor
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import DraftTokenIds, LogprobsLists, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder
from vllm.v1.structured_output import StructuredOutputManager

from actors.engine_session import EngineSession, link
from actors.engine_spec import EngineSpec
from actors.handoff_scheduler import AsyncHandoffScheduler, HandoffScheduler
from actors.turn_exchange import TurnExchange
from actors.turn_messages import BegunTurn, decode_turns, encode_turns
from actors.vllm_arguments import vllm_arguments
from tandem.authors import Authors
from tandem.cogeneration import AuthorFailed, Limits, cogenerate
from tandem.config.rollout import SamplingConfig
from tandem.rollout import JUNIOR, SENIOR, Rollout
from tandem.schedule import Schedule

T = TypeVar("T")
Model = Callable[[Sequence[int]], int]
"""Returns the next token of a text."""


@dataclass(frozen=True)
class ScheduledRequest:
    """What a worker knows of a request in one step."""

    id: str
    text: list[int]
    """without the token that the step before samples, if that is not known yet"""
    computed: int
    length: int
    """of the text after the step"""
    blocks: list[int]
    drafts: list[int]
    """the end of the text, which a draft model has written"""


@dataclass
class WorkerRequest:
    """A worker's copy of a request: what was sent to it, and the tokens that it sampled."""

    text: list[int]
    blocks: list[int]
    computed: int


_engines = count()


class MemoryLink:
    """An engine's link to others of this process."""

    _inboxes: ClassVar[dict[str, MemoryLink]] = {}
    """by address"""

    def __init__(self, address: str) -> None:
        self._messages: list[bytes] = []
        self._inboxes[address] = self

    def send(self, address: str, turns: list[BegunTurn]) -> None:
        self._inboxes[address]._messages.append(encode_turns(turns))

    def received(self) -> list[BegunTurn]:
        messages, self._messages = self._messages, []
        return [turn for message in messages for turn in decode_turns(message)]

    def wait(self, timeout_ms: int) -> None:
        """Return at once: the other engines run when this one does not."""


class ScheduledEngine:
    """The part of an engine that sessions use, whose tokens `model` writes; a token's log-probability is minus its position.

    Checks at every step that the KV cache holds the whole text of each request, that the workers are sent all of it, uncut
    where chunked prefill is off, and that vLLM's allocator changes nothing where it is not called. With `ahead` a
    step is scheduled before the results of the one before are known, as on a GPU.
    """

    def __init__(self, spec: EngineSpec, model: Model, blocks: int = 1000, *, ahead: bool = False) -> None:
        self.spec, self.version, self.logit_bias, self.adapter = spec, 0, dict[int, float](), None
        self.address = f"memory://{next(_engines)}"
        self.model, self._ahead = model, ahead
        self.steps = self.preemptions = self.messages = 0
        self.first_steps: dict[str, int] = {}
        """the first step of each request"""
        self.evicted: list[str] = []
        self._entries: dict[tuple[int, int], int] = {}
        """the KV entries, by block and place in it: a hash of the text up to there"""
        self._sampled: dict[str, int] = {}
        """the last token of each request"""
        self._worker: dict[str, WorkerRequest] = {}
        self._pending: tuple[SchedulerOutput, list[ScheduledRequest]] | None = None
        config = vllm_arguments(spec).create_engine_config()
        cache = config.cache_config
        cache.num_gpu_blocks = blocks
        attention = FullAttentionSpec(block_size=cache.block_size, num_kv_heads=1, head_size=8, dtype=torch.float32)
        config.scheduler_config.async_scheduling = ahead
        self._block_tokens = cache.block_size
        with patch("actors.handoff_scheduler.PartnerLink", lambda _: MemoryLink(self.address)):
            self.scheduler = (AsyncHandoffScheduler if ahead else HandoffScheduler)(
                vllm_config=config,
                kv_cache_config=KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], attention)]),
                structured_output_manager=StructuredOutputManager(config),
                block_size=cache.block_size,
            )
        evict = self.scheduler._evict

        def counting_evict(request: Request) -> None:
            self.evicted.append(request.request_id)
            evict(request)

        self.scheduler._evict = counting_evict  # type: ignore[method-assign]
        self.not_allocated = 0
        """how often vLLM's allocator was not called"""

        def checked_allocation(request: Request, tokens: int, **options: Any) -> KVCacheBlocks | None:
            if self.scheduler._has_room(request, tokens):
                self.not_allocated += 1
                before = self._kv_state(request)
                found = self.scheduler._allocate(request, tokens, **options)
                assert found is not None and found.get_block_ids(allow_none=True) is None
                assert self._kv_state(request) == before
            return self.scheduler._allocate_or_evict(request, tokens, **options)

        self.scheduler.kv_cache_manager.allocate_slots = checked_allocation
        hashed = get_hash_fn_by_name(cache.prefix_caching_hash_algo)
        init_none_hash(hashed)
        self._block_hasher = get_request_block_hasher(cache.block_size, hashed)
        self._encoder = MsgpackEncoder()
        self.inbox: list[tuple[EngineCoreRequestType, list[bytes]]] = []
        self.client = SimpleNamespace(
            outputs_queue=None,
            resources=SimpleNamespace(engine_dead=False),
            _send_input=lambda kind, content: self.inbox.append((kind, self._encoded(content))),
            _ensure_output_queue_task=lambda: None,
        )
        llm: Any = SimpleNamespace(
            engine_core=self.client,
            input_processor=InputProcessor(config, renderer_from_config(config)),
            _run_output_handler=lambda: None,
        )
        self.exchange = TurnExchange(llm)

    def _kv_state(self, request: Request) -> tuple[object, ...]:
        """Return the blocks of `request`, how many of them the prefix cache has, and how many blocks are free."""
        manager = self.scheduler.kv_cache_manager
        (blocks,) = manager.coordinator.single_type_managers
        cached = blocks.num_cached_block.get(request.request_id, 0)
        return manager.get_block_ids(request.request_id), cached, manager.block_pool.get_num_free_blocks()

    def session(self, rollout_id: str, age_rank: int = 0) -> EngineSession:
        return EngineSession(self, rollout_id, SamplingConfig(), None, age_rank)

    async def failure(self) -> AuthorFailed:
        return AuthorFailed("its engine died")

    def step(self) -> None:
        """Take what was sent and write every request that the scheduler chooses: a token, after the right ones of a draft."""
        inbox, self.inbox[:] = list(self.inbox), []
        for kind, frames in inbox:
            if kind is EngineCoreRequestType.ADD:
                request = MsgpackDecoder(EngineCoreRequest).decode(frames)
                self.scheduler.add_request(Request.from_engine_core_request(request, self._block_hasher))
            else:
                self.scheduler.finish_requests(MsgpackDecoder().decode(frames), RequestStatus.FINISHED_ABORTED)
        step: tuple[SchedulerOutput, list[ScheduledRequest]] | None = None
        if self.scheduler.has_requests():
            scheduled = self.scheduler.schedule()
            self.steps += 1
            self.preemptions += len(scheduled.preempted_req_ids or ())
            drafts = scheduled.scheduled_spec_decode_tokens
            step = (
                scheduled,
                [
                    self._scheduled(name, tokens, drafts.get(name, ()))
                    for name, tokens in scheduled.num_scheduled_tokens.items()
                ],
            )
        if self._ahead:
            step, self._pending = self._pending, step
        if step:
            self._execute(*step)

    def _scheduled(self, name: str, tokens: int, drafts: Sequence[int]) -> ScheduledRequest:
        request, (blocks,) = self.scheduler.requests[name], self.scheduler.kv_cache_manager.get_block_ids(name)
        length = request.num_computed_tokens
        chunked = self.scheduler.scheduler_config.enable_chunked_prefill
        assert chunked or length >= request.num_tokens, f"{name}: {tokens} tokens end at {length} of {request.num_tokens}"
        self.first_steps.setdefault(name, self.steps)
        return ScheduledRequest(name, [*request.all_token_ids, *drafts], length - tokens, length, list(blocks), list(drafts))

    def _update_worker(self, scheduled: SchedulerOutput) -> None:
        """Take what a step says of its requests as a worker of vLLM does. All scheduled requests must be named once."""
        for new in scheduled.scheduled_new_reqs:
            assert new.prompt_token_ids is not None
            self._worker[new.req_id] = WorkerRequest([*new.prompt_token_ids], [*new.block_ids[0]], new.num_computed_tokens)
        cached = scheduled.scheduled_cached_reqs
        for name, blocks, computed in zip(cached.req_ids, cached.new_block_ids, cached.num_computed_tokens, strict=True):
            request, new_blocks = self._worker[name], blocks[0] if blocks else []
            request.computed = computed
            request.blocks = [*new_blocks] if name in cached.resumed_req_ids else [*request.blocks, *new_blocks]
        named = [*(new.req_id for new in scheduled.scheduled_new_reqs), *cached.req_ids]
        assert sorted(named) == sorted(scheduled.num_scheduled_tokens)

    def _execute(self, scheduled: SchedulerOutput, requests: list[ScheduledRequest]) -> None:
        self._update_worker(scheduled)
        sampled = [self._sample(request) for request in requests]
        ends = np.cumsum([0, *map(len, sampled)]).tolist()
        positions = [
            request.length - len(request.drafts) + at
            for request, tokens in zip(requests, sampled, strict=True)
            for at in range(len(tokens))
        ]
        rows = np.zeros((len(positions), 1), np.int32)
        logprobs = -np.array(positions, np.float32).reshape(rows.shape)
        output = ModelRunnerOutput(
            req_ids=[request.id for request in requests],
            req_id_to_index={request.id: row for row, request in enumerate(requests)},
            sampled_token_ids=sampled,
            logprobs=LogprobsLists(rows, logprobs, rows[:, 0], ends if self.spec.draft_tokens else None),
        )
        for outputs in self.scheduler.update_from_output(scheduled, output).values():
            self.client.outputs_queue.put_nowait(MsgpackDecoder(EngineCoreOutputs).decode(self._encoded(outputs)))
            self.messages += 1

        if self.spec.draft_tokens:
            names = [name for name in scheduled.num_scheduled_tokens if name in self.scheduler.requests]
            drafts = [self._draft(list(self.scheduler.requests[name].all_token_ids)) for name in names]
            self.scheduler.update_draft_token_ids(DraftTokenIds(names, drafts))

    def _sample(self, request: ScheduledRequest) -> list[int]:
        """Return the tokens of `request` in a step: its draft up to the first wrong token, which `model` replaces."""
        read, tokens = self._read(request), list[int]()
        known = read[: len(read) - len(request.drafts)]
        for drafted in [*request.drafts, None]:
            tokens.append(self.model([*known, *tokens]))
            if tokens[-1] != drafted:
                break
        self._sampled[request.id] = tokens[-1]
        self._worker[request.id].text = [*known, *tokens]
        return tokens

    def _read(self, request: ScheduledRequest) -> list[int]:
        """Return the text of `request`, whose new tokens get KV entries; all others must have theirs."""
        text, told = request.text[: request.length], self._worker[request.id]
        if len(text) < request.length:
            text.append(self._sampled[request.id])
        known = len(text) - len(request.drafts)
        assert (told.text[:known], told.blocks, told.computed) == (text[:known], request.blocks, request.computed)
        entry = 0
        for place, token in enumerate(text):
            entry = hash((entry, token))
            at = request.blocks[place // self._block_tokens], place % self._block_tokens
            if place >= request.computed:
                self._entries[at] = entry
            assert self._entries.get(at) == entry, f"{request.id} reads the KV entry of another text at {place}"
        return text

    def _draft(self, text: Sequence[int]) -> list[int]:
        """Return a draft after `text` whose tokens are right with probability 3/4."""
        tokens: list[int] = []
        for _ in range(self.spec.draft_tokens):
            token = self.model([*text, *tokens])
            tokens.append(token ^ 1 if hash((*text, *tokens)) % 4 == 0 else token)
        return tokens

    def _encoded(self, content: Any) -> list[bytes]:
        return [bytes(frame) for frame in self._encoder.encode(content)]


async def run(engines: Sequence[ScheduledEngine]) -> None:
    """Step the engines in turn, until cancelled."""
    while True:
        for engine in engines:
            engine.step()
            await asyncio.sleep(0)


Pair = dict[int, ScheduledEngine]
"""The engines of both authors."""


def one_rollout(
    engines: Pair,
    authors: Authors,
    schedule: Schedule,
    rollout_id: str,
    seed: int,
    prompt: Sequence[int],
    limits: Limits,
    *,
    age_rank: int = 0,
    linked: bool = True,
) -> Coroutine[Any, Any, Rollout]:
    """Write a rollout; `linked` engines pass the pen to each other."""
    names = [SENIOR] if schedule.solo else [SENIOR, JUNIOR]
    sessions = {author: engines[author].session(rollout_id, age_rank) for author in names}
    if linked:
        link(sessions)
    return cogenerate(rollout_id, prompt, sessions, schedule, authors.boundaries, seed, limits)


def during(engines: Pair, writing: Coroutine[Any, Any, T]) -> T:
    """Return the result of `writing` while the engines run."""

    async def both() -> T:
        running = asyncio.create_task(run(list(engines.values())))
        result = asyncio.create_task(writing)
        try:
            await asyncio.wait([running, result], timeout=60, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            assert result.done(), "the rollouts do not end"
            return result.result()
        finally:
            result.cancel()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    return asyncio.run(both())
