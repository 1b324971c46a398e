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
    trainable = (size.adapter or size.parameters) / GIB
    return RankMemory(
        weights=_weights(size, learner, reference),
        gradients=_sharded(4 * trainable, learner, from_stage=2),
        optimizer=_optimizer(trainable, learner),
        activations=max(_activations(size, learner, longest), _copied_gradients(trainable, learner)),
        buffers=reduce_bucket_size(size.adapter) * _buffer_width(learner) / GIB,
        kept_between_updates=_kept_between_updates(learner),
    )


def _sharded(value: float, learner: LearnerConfig, from_stage: int) -> float:
    """Return what one rank holds of `value`, which ZeRO divides among the ranks from `from_stage` on."""
    return value / learner.ranks if learner.zero_stage >= from_stage else value


def _weights(size: ModelSize, learner: LearnerConfig, reference: ModelSize | None) -> float:
    """Return the weights of the model and the frozen `reference`, and the bucket that is gathered for a weight sync.

    ZeRO 3 shards the weights of both.
    """
    width, parameters = BYTES[learner.dtype], size.parameters / GIB
    frozen = reference.parameters / GIB if reference else 0.0
    held = _sharded(width * (parameters + frozen) + 4 * size.adapter / GIB, learner, from_stage=3)
    gathers = learner.zero_stage == 3 or size.adapter
    gathered = min(learner.publish_bucket_mib / 1024, width * parameters) if gathers else 0.0
    return (0.0 if learner.offload_parameters else held) + gathered


def _optimizer(trainable: float, learner: LearnerConfig) -> float:
    """Return Adam's two moments and, from ZeRO 1 on, the float32 weights that they step, of `trainable` GiB parameters."""
    if learner.offload_optimizer:
        return 0.0
    return _sharded((8 + 4 * (learner.zero_stage > 0)) * trainable, learner, from_stage=1)


def _activations(size: ModelSize, learner: LearnerConfig, longest: int) -> float:
    """Return the activations and logits of a micro-batch."""
    tokens = max(learner.micro_batch_tokens, longest)  # a rollout longer than a micro-batch is a micro-batch
    width = BYTES[learner.dtype]
    bytes_per_value = CHECKPOINT_BYTES if learner.gradient_checkpointing else ACTIVATION_BYTES
    activations = tokens * size.hidden * size.layers * bytes_per_value * width / 2 / GIB
    if width == 2:  # the adapter reads a float32 copy of its inputs, of one layer at a time if they are computed again
        activations += 4 * tokens * size.adapter_inputs / (size.layers if learner.gradient_checkpointing else 1) / GIB
    whole = longest * learner.sequence_parallel
    if learner.sequence_parallel > 1 and 0 < size.window < whole:  # the mask, once for all layers
        activations += width * whole**2 / GIB
    return activations + min(learner.logprob_chunk_tokens, tokens) * size.vocabulary * 4 * LOGIT_COPIES / GIB


def _copied_gradients(trainable: float, learner: LearnerConfig) -> float:
    """Return the gradients of `trainable` GiB parameters that DeepSpeed copies for the optimizer's step.

    The step is fused and needs no memory of its own. ZeRO 3 copies a group of parameters at a time. Without ZeRO, and under
    ZeRO 1 and 2 in bfloat16, the gradients are one flat tensor already.
    """
    stage = learner.zero_stage
    copies = stage == 3 or (stage > 0 and BYTES[learner.parameter_dtype] == 4)
    if not copies or learner.offload_optimizer:
        return 0.0
    stepped = _sharded(trainable, learner, from_stage=1)
    return 4 * (min(stepped, SUB_GROUP_SIZE / GIB) if stage == 3 else stepped)


def _has_own_gradients(learner: LearnerConfig) -> bool:
    """Whether DeepSpeed's optimizer holds its own gradients: for ZeRO 1 in bfloat16, unless it is offloaded."""
    return learner.zero_stage == 1 and BYTES[learner.parameter_dtype] == 2 and not learner.offload_optimizer


def _buffer_width(learner: LearnerConfig) -> int:
    """Return the bytes of a number in the buffer that reduces gradients; 0: there is none."""
    if learner.zero_stage == 0 or _has_own_gradients(learner):
        return 0
    return 4 if learner.zero_stage == 1 else BYTES[learner.parameter_dtype]


def _kept_between_updates(learner: LearnerConfig) -> tuple[str, ...]:
    """Return the fields of `RankMemory` that DeepSpeed keeps between updates."""
    fields = ["weights", "optimizer"]
    if _has_own_gradients(learner) or (learner.zero_stage == 3 and not learner.offload_optimizer):
        fields.append("gradients")
    if learner.zero_stage == 3:
        fields.append("buffers")
    return tuple(fields)
