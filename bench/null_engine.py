"""An engine whose executor computes nothing: it returns random tokens at once, so that only the exchange costs time."""

from __future__ import annotations

import random
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import KVCacheConfig
from vllm.v1.outputs import LogprobsLists, ModelRunnerOutput

from actors.engine import Engine
from actors.engine_spec import EngineSpec
from actors.engine_worker import BoundExecutor

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs


BLOCKS = 1 << 16
"""The size of the KV cache, which exists in the scheduler only."""


class NullExecutor(BoundExecutor):
    """An executor that loads the model and never runs it. A share of its tokens are boundaries (see `NullEngine`)."""

    SET_SHARE = "set_boundary_share"
    """The remote call that sets the share."""

    def _init_executor(self) -> None:
        super()._init_executor()
        spec = EngineSpec.from_config(self.vllm_config)
        table = spec.boundaries() > 0
        self._boundaries, self._others = np.flatnonzero(table).tolist(), np.flatnonzero(~table).tolist()
        self._share, self._random = 0.5, random.Random(spec.seed)

    def initialize_from_config(self, kv_cache_configs: list[KVCacheConfig]) -> None:
        """Allocate no KV cache: nothing is stored in it."""

    def compile_or_warm_up_model(self) -> None:
        """Run no model."""

    def collective_rpc(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Set the share of boundaries, or call the worker."""
        if method != self.SET_SHARE:
            return super().collective_rpc(method, *args, **kwargs)
        (self._share,) = kwargs.get("args") or args[1]
        return [None]

    def execute_model(self, scheduler_output: SchedulerOutput, non_block: bool = False) -> Any:
        """Return one random token for each scheduled request, with the log-probability 0."""
        requests = list(scheduler_output.num_scheduled_tokens)
        rows, draw, pick = len(requests), self._random.random, self._random.choice
        tokens = [[pick(self._boundaries if draw() < self._share else self._others)] for _ in requests]
        zeros = np.zeros((rows, 1), np.int32)
        output = ModelRunnerOutput(
            req_ids=requests,
            req_id_to_index={request: row for row, request in enumerate(requests)},
            sampled_token_ids=tokens,
            logprobs=LogprobsLists(zeros, np.zeros((rows, 1), np.float32), zeros[:, 0]),
        )
        if not non_block:
            return output
        future: Future[ModelRunnerOutput] = Future()
        future.set_result(output)
        return future


class NullEngine(Engine):
    """The engine that training uses, on a `NullExecutor`."""

    def _arguments(self) -> AsyncEngineArgs:
        return replace(super()._arguments(), distributed_executor_backend=NullExecutor, num_gpu_blocks_override=BLOCKS)

    async def set_boundary_share(self, share: float) -> None:
        """Set the share of the written tokens that are boundaries."""
        await self._llm.collective_rpc(NullExecutor.SET_SHARE, args=(share,))
