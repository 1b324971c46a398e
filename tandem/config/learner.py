"""The learner."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.model import DTYPES
from tandem.config.setting import KeysOf, setting, wait


@dataclass
class LearnerConfig:
    """The DeepSpeed learner."""

    ranks: int = setting(1, at_least=1, on_resume="change")
    """processes over which the learner is spread, each on a GPU of its own where there are several"""
    zero_stage: int = setting(1, choices=(0, 1, 2, 3), on_resume="change")
    """what DeepSpeed partitions over the ranks: 0 nothing, 1 the optimizer's state, 2 the gradients too (reduced after every
    micro-batch, which is slower), 3 the parameters too"""
    offload_optimizer: bool = setting(False, on_resume="change")
    """keep the optimizer's state in CPU memory, and step there; ZeRO 1 to 3"""
    offload_parameters: bool = setting(False, on_resume="change")
    """keep the parameters in CPU memory, from where each layer is fetched when it computes; ZeRO-3"""
    dtype: str = setting("float32", choices=DTYPES, on_resume="keep")
    """`float32`, or `bfloat16` with float32 master weights"""
    lr: float = setting(2e-4, above=0)
    """the learning rate after warm-up"""
    lr_schedule: str = setting("constant", choices=("constant", "linear", "cosine"))
    """after warm-up: `constant`, `linear` (to min_lr_ratio) or `cosine` (to min_lr_ratio)"""
    warmup_steps: int = setting(2, at_least=0)
    """training steps over which the learning rate rises linearly to lr"""
    min_lr_ratio: float = setting(0.1, at_least=0, at_most=1)
    """what is left of lr at the last step"""
    weight_decay: float = setting(0.0, at_least=0)
    """AdamW's, on matrices only"""
    betas: tuple[float, float] = setting((0.9, 0.98), at_least=0, below=1)
    """AdamW's"""
    eps: float = setting(1e-8, above=0)
    """AdamW's"""
    grad_clip: float = setting(1.0, above=0)
    """global gradient norm"""
    micro_batch_tokens: int = setting(8192, at_least=1, on_resume="change")
    """padded tokens (prompt and completion) that pass through the model at a time on one rank"""
    logprob_chunk_tokens: int = setting(1024, at_least=1, on_resume="change")
    """tokens whose logits over the vocabulary exist at a time"""
    gradient_checkpointing: bool = setting(False, on_resume="change")
    """compute activations again in the backward pass instead of keeping them"""
    transport: str = setting("auto", choices=KeysOf("tandem.runtime.weights:TRANSPORTS", also=("auto",)))
    """how weights reach the engines: `shm` (shared memory on the host), `nccl` (each engine and rank on a GPU of its own),
    `ipc` (all on one GPU) or `auto`, which picks what fits"""
    publish_bucket_mib: int = setting(256, at_least=1, on_resume="change")
    """whole weights, beside the learner's own, that exist at a time on their way to the engines"""
    timeout_s: float = wait(1800.0, on_resume="change")
    """longest wait for a call to all ranks (an update, say) and, inside it, of one rank for another"""
