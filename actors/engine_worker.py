"""Code in an engine's process: the executor that binds it to its cores, and the methods that the actor calls in it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from vllm.model_executor.layers.fused_moe.unquantized_fused_moe_method import UnquantizedFusedMoEMethod
from vllm.model_executor.layers.linear import LinearBase
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.platforms import current_platform
from vllm.v1.executor.multiproc_executor import MultiprocExecutor
from vllm.v1.executor.uniproc_executor import UniProcExecutor
from vllm.v1.sample import rejection_sampler

from actors import handoff_scheduler
from actors.admission import KVUse
from actors.engine_adapter import adapter_tensors, load_adapter, load_zero_adapter
from actors.engine_spec import EngineSpec
from tandem.runtime.segment import WeightSegment
from tandem.runtime.weights import PublishedWeights, checksum


class BoundExecutor(UniProcExecutor):
    """An executor that runs the model in the engine's process, on the engine's cores.

    A CPU engine then needs one process less and no message between processes at every step.
    """

    def _init_executor(self) -> None:
        cores = EngineSpec.from_config(self.vllm_config).cores
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(len(cores))
        if self.vllm_config.model_config.enforce_eager:
            # vLLM compiles one small function, which ranks sampled tokens. This would take seconds at the first token.
            torch.compiler.set_stance("force_eager")
        if self.vllm_config.speculative_config:
            rejection_sampler.expand_batch_to_tokens = expand_batch_to_tokens
        super()._init_executor()

    def shutdown(self) -> None:
        """End the worker. Its process ends too, so that vLLM need not search it for garbage, which takes seconds."""
        gc.collect = lambda generation=2: 0
        super().shutdown()


def expand_batch_to_tokens(
    values: torch.Tensor, ends: torch.Tensor, tokens: int, replace_from: int = 0, replace_to: int = 0
) -> torch.Tensor:
    """Return each request's value for each of its draft tokens.

    vLLM 0.32 on CPU leaves them uninitialized: https://github.com/vllm-project/vllm/issues/55005.
    """
    expanded = values.repeat_interleave(ends.diff(prepend=ends.new_zeros(1)), output_size=tokens)
    return expanded.masked_fill(expanded == replace_from, replace_to)


class ShardedExecutor(MultiprocExecutor):
    """An executor whose workers, in a process each, share the model."""

    def collective_rpc(self, method: Any, *arguments: Any, **options: Any) -> Any:
        """Call `method` of all workers, but `kv_use` and `drafts` here: the scheduler is in this process."""
        if method == "kv_use":
            return [handoff_scheduler.kv_use()]
        if method == "drafts":
            return [handoff_scheduler.drafts()]
        return super().collective_rpc(method, *arguments, **options)


class WeightReceiver:
    """An extension of vLLM's worker (`worker_extension_cls`): loads published weights, computes their checksum, reseeds."""

    if TYPE_CHECKING:
        model_runner: Any
        vllm_config: Any
    _segment: WeightSegment | None = None
    """stays mapped, since mapping takes longer than copying"""
    _published: PublishedWeights | None = None
    """what the segment must hold"""

    def map_weights(self, encoded: str) -> None:
        """Map the segment that `encoded`, a `PublishedWeights`, describes."""
        published = self._published = PublishedWeights.decode(encoded)
        segment = self._segment
        if segment is None or (str(segment.path), segment.layout) != (published.path, published.layout):
            self._segment = WeightSegment(published.path, published.layout, threads=len(os.sched_getaffinity(0)))

    def check_weights(self) -> None:
        """Raise `RuntimeError` unless the mapped bytes have the published checksum."""
        assert self._segment is not None and self._published is not None
        if self._segment.checksum() != self._published.checksum:
            raise RuntimeError(
                f"{self._published.path} does not hold version {self._published.version} of the weights: its checksum differs"
            )

    def load_weights(self) -> None:
        """Load the mapped weights: the senior's adapter, in an engine with one."""
        assert self._segment is not None
        if (spec := EngineSpec.from_config(self.vllm_config)).lora_rank:
            load_adapter(self.model_runner, spec, self._segment.tensors())
            return
        modules = list(self.model_runner.get_model().modules())
        for module in modules:
            method = getattr(module, "quant_method", None)
            if current_platform.is_cpu() and isinstance(method, UnquantizedFusedMoEMethod):
                method.moe_kernel = None  # vLLM packs experts when it creates their kernel, and creates none if there is one
        self.model_runner.reload_weights(weights_iterator=self._segment.tensors())
        for module in modules:
            # On CPU, a tied LM head keeps a packed copy of the embeddings, which the reload does not update.
            if isinstance(module, VocabParallelEmbedding):
                module.quant_method.process_weights_after_loading(module)

    def reset_adapter(self) -> None:
        """Compute as the base model does, in an engine with an adapter."""
        load_zero_adapter(self.model_runner, EngineSpec.from_config(self.vllm_config))

    def weights_checksum(self, adapted: bool) -> str:
        """Return a checksum of the weights that the engine computes with, those of an adapter too if `adapted`."""
        return checksum([*self._tensors(), *(adapter_tensors(self.model_runner) if adapted else ())])

    def reseed(self, seed: int) -> None:
        """Seed the noise of requests that have no seed."""
        torch.manual_seed(seed)

    def kv_use(self) -> KVUse:
        """Return the use of the KV cache since the last call; the scheduler is in this process."""
        return handoff_scheduler.kv_use()

    def drafts(self) -> tuple[int, int]:
        """Return the numbers of drafted and of accepted tokens since the start; the scheduler is in this process."""
        return handoff_scheduler.drafts()

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        model = self.model_runner.get_model()
        yield from model.named_parameters()
        for name, module in model.named_modules():
            # A CPU engine packs the weights of linear layers and the LM head, which cannot be read then: their product with a
            # fixed vector stands for them.
            if isinstance(module, LinearBase) and not module.weight.numel():
                width = getattr(module, "input_size_per_partition", module.input_size)  # a replicated layer has no partition
            elif isinstance(module, VocabParallelEmbedding):
                width = module.embedding_dim
            else:
                continue
            probe = torch.linspace(-1, 1, width, dtype=module.weight.dtype, device=module.weight.device)
            yield f"{name}.probe", module.quant_method.apply(module, probe[None])
