"""Estimates of the memory that an engine and a rank of the learner take on a GPU, in GiB.

They add up what is known in advance. Two constants stand for what libraries take (workspaces of kernels, fragmentation). Expect
the rest to be right within about ten percent.
"""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.learner import LearnerConfig
from tandem.plan.sizes import ModelSize
from tandem.runtime.units import GIB

BYTES = {"float32": 4, "bfloat16": 2}
ENGINE_OVERHEAD_GIB = 2.5
"""CUDA context, activations of a step and captured graphs of one engine, on each of its GPUs."""
ENGINE_ASLEEP_GIB = 1.0
"""The GPU memory that a sleeping engine keeps: CUDA context and captured graphs."""
RANK_OVERHEAD_GIB = 1.5
"""CUDA context, NCCL's buffers and fragmentation of one rank."""
USABLE = 0.92
"""The share of a GPU's memory that a plan may use."""
ACTIVATION_BYTES, CHECKPOINT_BYTES = 34, 2
"""Bytes per token, layer and unit of the hidden size that a transformer layer keeps for the backward pass in 16 bits (arXiv
2205.05198, without attention scores), and those that it keeps when activations are recomputed."""
REDUCE_BUCKET_SIZE = 500_000_000
"""The most numbers in the buffer in which DeepSpeed reduces gradients (its `reduce_bucket_size`)."""
SUB_GROUP_SIZE = 1_000_000_000
"""The most gradients that DeepSpeed copies at once for the optimizer's step under ZeRO 3 (its `sub_group_size`)."""
LOGIT_COPIES = 4
"""float32 numbers that exist at once for each logit of a chunk: logits, log-probabilities and their gradients."""


def reduce_bucket_size(adapter: int) -> int:
    """Return the numbers in the buffer that reduces gradients. `adapter`: its parameters; 0: the whole model learns."""
    return min(REDUCE_BUCKET_SIZE, adapter or REDUCE_BUCKET_SIZE)


@dataclass(frozen=True)
class EngineMemory:
    """The memory of one engine on each of its GPUs."""

    weights: float
    """the weights of the shard, and the engine's overhead"""
    text: float
    """the KV cache of one text of full length, of both authors in an engine that they share"""
    shared: bool = False
    """whether one engine writes for both authors"""

    @property
    def least(self) -> float:
        """Return the least memory with which the engine starts."""
        return self.weights + self.text

    def texts(self, gib: float) -> int:
        """Return how many texts of full length fit into `gib`."""
        return max(0, int((gib - self.weights) / self.text))


def engine_memory(size: ModelSize, dtype: str, gpus: int, context: int) -> EngineMemory:
    """Estimate an engine that shards its model over `gpus` GPUs and holds texts of `context` tokens."""
    each = BYTES[dtype] / GIB / gpus
    return EngineMemory(size.parameters * each + ENGINE_OVERHEAD_GIB, context * size.kv_values * each)


def with_adapter(engine: EngineMemory, size: ModelSize, dtype: str, *, shared: bool) -> EngineMemory:
    """Estimate `engine` with an adapter; `shared`, it holds the text of each author."""
    return EngineMemory(engine.weights + size.adapter * BYTES[dtype] / GIB, engine.text * (1 + shared), shared)


@dataclass(frozen=True)
class RankMemory:
    """The memory of one rank of the learner."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    """the activations and logits of a micro-batch, or the gradients that DeepSpeed copies for the optimizer's step after those
    are freed, whichever is larger"""
    buffers: float
    """the buffers in which gradients are reduced"""
    kept_between_updates: tuple[str, ...]
    """the fields that DeepSpeed keeps between updates"""

    @property
    def total(self) -> float:
        """Return the sum, overhead included."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.buffers + RANK_OVERHEAD_GIB

    @property
    def between_updates(self) -> float:
        """Return what stays between updates, overhead included."""
        return sum(getattr(self, part) for part in self.kept_between_updates) + RANK_OVERHEAD_GIB


def rank_memory(size: ModelSize, learner: LearnerConfig, *, longest: int = 0, reference: ModelSize | None = None) -> RankMemory:
    """Estimate one of `learner.ranks` ranks.

    It computes at most `longest` tokens of a rollout, prompt included. With `reference` it also holds a frozen model of that
    size.
    """
    tokens = max(learner.micro_batch_tokens, longest)  # a rollout longer than a micro-batch is a micro-batch
    stage, width, ranks = learner.zero_stage, BYTES[learner.dtype], learner.ranks
    parameters, learned = size.parameters / GIB, (size.adapter or size.parameters) / GIB
    frozen = reference.parameters / GIB if reference else 0.0
    held = (width * (parameters + frozen) + 4 * size.adapter / GIB) / (ranks if stage == 3 else 1)
    weights = 0.0 if learner.offload_parameters else held
    gathered = min(learner.publish_bucket_mib / 1024, width * parameters) if stage == 3 or size.adapter else 0.0
    # Adam's two moments, and from ZeRO 1 on the float32 weights that they step.
    optimizer = 0.0 if learner.offload_optimizer else (8 + 4 * (stage > 0)) * learned / (ranks if stage else 1)
    kept = CHECKPOINT_BYTES if learner.gradient_checkpointing else ACTIVATION_BYTES
    activations = tokens * size.hidden * size.layers * kept * width / 2 / GIB
    if width == 2:  # the adapter reads a float32 copy of its inputs, of one layer at a time if they are computed again
        activations += 4 * tokens * size.adapter_inputs / (size.layers if learner.gradient_checkpointing else 1) / GIB
    whole = longest * learner.sequence_parallel
    if learner.sequence_parallel > 1 and 0 < size.window < whole:  # the mask, once for all layers
        activations += width * whole**2 / GIB
    logits = min(learner.logprob_chunk_tokens, tokens) * size.vocabulary * 4 * LOGIT_COPIES / GIB
    # DeepSpeed's optimizer for ZeRO 1 in bfloat16 holds its own gradients, unless it is offloaded, and needs no buffer.
    learned_width = BYTES[learner.parameter_dtype]
    own_gradients = stage == 1 and learned_width == 2 and not learner.offload_optimizer
    buffer = 0 if stage == 0 or own_gradients else 4 if stage == 1 else learned_width
    # The optimizer's step is fused: it needs no memory of its own.
    stepped = learned / (ranks if stage else 1)
    if stage == 3:
        stepped = min(stepped, SUB_GROUP_SIZE / GIB)
    copied = stage == 3 or (stage > 0 and learned_width == 4)  # otherwise the gradients are one flat tensor already
    kept_between_updates = ["weights", "optimizer"]
    if own_gradients or (stage == 3 and not learner.offload_optimizer):
        kept_between_updates.append("gradients")
    if stage == 3:
        kept_between_updates.append("buffers")
    return RankMemory(
        weights=weights + gathered,
        gradients=4 * learned / (ranks if stage >= 2 else 1),
        optimizer=optimizer,
        activations=max(activations + logits, 4 * stepped if copied and not learner.offload_optimizer else 0.0),
        buffers=reduce_bucket_size(size.adapter) * buffer / GIB,
        kept_between_updates=tuple(kept_between_updates),
    )
