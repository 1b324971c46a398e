"""An engine without a process or a model: vLLM's real scheduler and wire format, with a function that writes the tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from vllm.renderers import renderer_from_config
from vllm.utils.hashing import get_hash_fn_by_name
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.engine import EngineCoreOutputs, EngineCoreRequest, EngineCoreRequestType
from vllm.v1.engine.input_processor import InputProcessor
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import LogprobsLists, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder
from vllm.v1.structured_output import StructuredOutputManager

from actors.engine import Engine
from actors.engine_session import EngineSession
from actors.engine_spec import EngineSpec
from actors.handoff_scheduler import HandoffScheduler
from actors.turn_exchange import TurnExchange
from tandem.cogeneration import AuthorFailed
from tandem.config.rollout import SamplingConfig

Model = Callable[[Sequence[int]], int]
"""Returns the next token of a text."""


class ScheduledEngine:
    """The part of an engine that sessions use, whose tokens `model` writes; a token's log-probability is minus its position."""

    def __init__(self, spec: EngineSpec, model: Model, blocks: int = 1000) -> None:
        self.spec, self.version, self.logit_bias = spec, 0, dict[int, float]()
        self.model = model
        self.steps = self.preemptions = 0
        shell = Engine.__new__(Engine)
        shell.spec, shell._profiles = spec, None
        config = shell._arguments().create_engine_config()
        cache = config.cache_config
        cache.num_gpu_blocks = blocks
        attention = FullAttentionSpec(block_size=cache.block_size, num_kv_heads=1, head_size=8, dtype=torch.float32)
        self.scheduler = HandoffScheduler(
            vllm_config=config,
            kv_cache_config=KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], attention)]),
            structured_output_manager=StructuredOutputManager(config),
            block_size=cache.block_size,
        )
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

    def session(self, rollout_id: str) -> EngineSession:
        return EngineSession(self, rollout_id, SamplingConfig(), None)

    async def failure(self) -> AuthorFailed:
        return AuthorFailed("its engine died")

    def step(self) -> None:
        """Take what was sent and write one token of every request that the scheduler chooses."""
        inbox, self.inbox[:] = list(self.inbox), []
        for kind, frames in inbox:
            if kind is EngineCoreRequestType.ADD:
                request = MsgpackDecoder(EngineCoreRequest).decode(frames)
                self.scheduler.add_request(Request.from_engine_core_request(request, self._block_hasher))
            else:
                self.scheduler.finish_requests(MsgpackDecoder().decode(frames), RequestStatus.FINISHED_ABORTED)
        if not self.scheduler.has_requests():
            return
        scheduled = self.scheduler.schedule()
        self.steps += 1
        self.preemptions += len(scheduled.preempted_req_ids or ())
        requests = [self.scheduler.requests[name] for name in scheduled.num_scheduled_tokens]
        rows = np.zeros((len(requests), 1), np.int32)
        logprobs = -np.array([[request.num_tokens] for request in requests], np.float32).reshape(rows.shape)
        output = ModelRunnerOutput(
            req_ids=list(scheduled.num_scheduled_tokens),
            req_id_to_index={request.request_id: row for row, request in enumerate(requests)},
            sampled_token_ids=[[self.model(list(request.all_token_ids))] for request in requests],
            logprobs=LogprobsLists(rows, logprobs, rows[:, 0]),
        )
        for outputs in self.scheduler.update_from_output(scheduled, output).values():
            self.client.outputs_queue.put_nowait(MsgpackDecoder(EngineCoreOutputs).decode(self._encoded(outputs)))

    def _encoded(self, content: Any) -> list[bytes]:
        return [bytes(frame) for frame in self._encoder.encode(content)]


async def run(engines: Sequence[ScheduledEngine]) -> None:
    """Step the engines in turn, until cancelled."""
    while True:
        for engine in engines:
            engine.step()
            await asyncio.sleep(0)
