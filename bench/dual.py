"""The published implementation, for comparison: one unmodified engine whose model contains both authors.

The vocabulary is doubled, so that a token's id encodes its author: id // V is `JUNIOR` or `SENIOR`. Every step runs both
models over every token, because each needs KV entries of the whole text. A logits processor masks the half of the logits that
belongs to the author without the pen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import psutil
import torch
from torch import nn
from transformers import AutoConfig
from vllm import ModelRegistry, SamplingParams
from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs import TokensPrompt
from vllm.model_executor.models.utils import init_vllm_registered_model
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from actors.engine_spec import EngineSpec
from actors.engine_worker import BoundExecutor
from bench.engines import bound_process
from bench.workload import Workload
from tandem.rollout import SENIOR, EndReason, Rollout
from tandem.runtime.units import GIB
from tandem.schedule import Pen, Schedule

_TURN = "dual"
"""The key of `extra_args` that holds a rollout's seed and the fields of its schedule."""


class DualForCausalLM(nn.Module):
    """Two models of one architecture side by side; hidden states [T, 2H], logits [R, 2V], the junior's half first."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        single = deepcopy(vllm_config.model_config.hf_config)
        single.vocab_size //= 2
        self._vocabulary = single.vocab_size
        architectures = [single.single_architecture]
        self.junior = init_vllm_registered_model(vllm_config, prefix="junior", hf_config=single, architectures=architectures)
        self.senior = init_vllm_registered_model(vllm_config, prefix="senior", hf_config=single, architectures=architectures)

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return both models' embeddings of `input_ids` [T], for either author: [T, 2H]."""
        ids = input_ids % self._vocabulary
        return torch.cat([self.junior.embed_input_ids(ids), self.senior.embed_input_ids(ids)], dim=-1)

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        intermediate_tensors: object = None,
        inputs_embeds: object = None,
    ) -> torch.Tensor:
        """Return both models' last hidden states, [T, 2H]."""
        ids = input_ids % self._vocabulary
        return torch.cat([self.junior(ids, positions), self.senior(ids, positions)], dim=-1)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Return both models' logits, [R, 2V]."""
        junior, senior = hidden_states.chunk(2, dim=-1)
        return torch.cat([self.junior.compute_logits(junior.contiguous()), self.senior.compute_logits(senior.contiguous())], -1)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Load the same weights into both models (they are self-paired). Return the names of the loaded parameters."""
        stored = list(weights)
        return {
            f"{author}.{name}"
            for author, model in (("junior", self.junior), ("senior", self.senior))
            for name in model.load_weights(stored)
        }


@dataclass
class _Row:
    pen: Pen
    output: list[int]
    """the rollout's tokens, a list that vLLM extends"""


class AuthorMask(LogitsProcessor):
    """Logits processor that keeps, of each row's logits [2V], the half of the author with the pen."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        spec = EngineSpec.from_config(vllm_config)
        self._vocabulary, self._boundaries = spec.vocabulary, spec.boundaries().tolist()
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        """Return False: the mask changes the argmax."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Add and remove requests of the batch, and advance every pen over the new tokens."""
        process_dict_updates(self._rows, batch_update, self._admit)
        for row in self._rows.values():
            for token in row.output[row.pen.position :]:
                row.pen = row.pen.after(self._boundaries[token % self._vocabulary])

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask `logits` [R, 2V] in place and return them."""
        rows = list(self._rows)
        absent = [1 - row.pen.author for row in self._rows.values()]
        logits.view(len(logits), 2, -1)[rows, absent] = -torch.inf
        return logits

    def _admit(self, params: SamplingParams, _: list[int] | None, output: list[int]) -> _Row | None:
        if not params.extra_args:
            return None
        seed, *rule = params.extra_args[_TURN]
        return _Row(Schedule(*rule).pen(seed), output)


class DualExecutor(BoundExecutor):
    """Executor of this module, so that the engine's process imports the module and registers the model."""


ModelRegistry.register_model(DualForCausalLM.__name__, DualForCausalLM)


class DualEngine:
    """One engine with both authors, on all cores of the pair."""

    def __init__(self, work: Workload) -> None:
        """Start the engine's process and block until it is ready."""
        senior = work.specs[SENIOR]
        self.spec = replace(senior, cores=work.cores)
        self._work = work
        self._llm = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=senior.model,
                hf_overrides={
                    "architectures": [DualForCausalLM.__name__],
                    "single_architecture": AutoConfig.from_pretrained(senior.model).architectures[0],
                    "vocab_size": 2 * senior.vocabulary,
                },
                dtype=senior.dtype,
                seed=senior.seed,
                max_model_len=senior.max_model_len,
                max_num_seqs=senior.max_num_seqs,
                max_num_batched_tokens=max(2048, senior.max_model_len),
                enforce_eager=True,
                kv_cache_memory_bytes=int(2 * senior.kv_cache_gib * GIB),
                distributed_executor_backend=DualExecutor,
                logprobs_mode="processed_logprobs",
                logits_processors=["bench.dual:AuthorMask"],
                additional_config=self.spec.additional_config(),
                async_scheduling=False,
                enable_log_requests=False,
                disable_log_stats=True,
            )
        )

    async def write(self, work: Workload, tag: str) -> list[Rollout]:
        """Write all rollouts of `work`, one plain request each."""
        return await asyncio.gather(*(self._write(work, tag, index) for index in range(len(work.prompts))))

    async def _write(self, work: Workload, tag: str, index: int) -> Rollout:
        params = SamplingParams(
            temperature=work.sampling.temperature,
            max_tokens=work.tokens,
            logprobs=0,
            flat_logprobs=True,
            ignore_eos=True,
            extra_args={_TURN: [index, *work.schedule]},
            output_kind=RequestOutputKind.FINAL_ONLY,
            detokenize=False,
        )
        prompt = TokensPrompt(prompt_token_ids=list(work.prompts[index]))
        async for output in self._llm.generate(prompt, params, f"{tag}/{index}"):
            written = output.outputs[0]
        author, ids = np.divmod(np.array(written.token_ids, np.int32), self.spec.vocabulary)
        return Rollout(
            id=f"{tag}/{index}",
            prompt_ids=np.array(work.prompts[index], np.int32),
            token_ids=ids,
            authorship=author.astype(np.int8),
            logprobs=np.array(written.logprobs.logprobs, np.float32),
            weight_versions=np.where(author == SENIOR, 0, -1).astype(np.int32),
            end=EndReason.BUDGET,
            seed=index,
        )

    def close(self) -> None:
        """Shut the engine's process down."""
        self._llm.shutdown()
        # vLLM shuts down again on collection, which would fail at the interpreter's exit.
        del self._llm


@asynccontextmanager
async def dual_engine(work: Workload) -> AsyncIterator[tuple[DualEngine, dict[int, psutil.Process]]]:
    """Start the engine with both authors, and close it at the end."""
    before = set(psutil.Process().children())
    engine = await asyncio.to_thread(DualEngine, work)
    try:
        yield engine, {SENIOR: bound_process(set(psutil.Process().children()) - before, engine.spec)}
    finally:
        await asyncio.to_thread(engine.close)
