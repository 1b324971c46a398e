"""The learner."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.model import DTYPES
from tandem.config.setting import MAX_PROCESSES, section, setting, wait
from tandem.runtime.weights import TRANSPORTS


@dataclass
class LoraConfig:
    """The senior's low-rank adapter (LoRA)."""

    rank: int = setting(0, at_least=0, at_most=512)
    """rank of the adapter that learns while the base model is frozen; 0: no adapter, the whole model learns"""
    alpha: float = setting(32.0, above=0)
    """scale of the adapter: its product is multiplied by alpha / rank"""
    targets: list[str] = setting([])
    """names of the linear layers that get an adapter, such as `[q_proj,v_proj]`; empty: all but the head"""
    lr_scale: float = setting(10.0, above=0, on_resume="warn")
    """the adapter's learning rate, in multiples of learner.lr"""
    sync: str = setting("auto", choices=("auto", "merged", "adapter"), on_resume="change")
    """what a weight sync sends: `merged` (whole weights with the adapter added), `adapter` (the adapter alone, through shared
    memory, to engines that compute with it) or `auto`: the adapter on the GPUs of one machine, merged weights otherwise"""
    merged_export: bool = setting(True, on_resume="change")
    """whether an exported senior is a whole model with the adapter merged, which can be evaluated, and holds the adapter in
    `adapter/`; otherwise it is the adapter alone, a PEFT directory"""

    @property
    def sent_alone(self) -> bool:
        """Whether a weight sync sends the adapter alone. With `sync=auto` the plan decides it."""
        return self.sync == "adapter"


@dataclass
class LearnerConfig:
    """The DeepSpeed learner."""

    lora: LoraConfig = section(LoraConfig, on_resume="keep")
    ranks: int = setting(1, at_least=1, at_most=MAX_PROCESSES, on_resume="change")
    """processes of the learner, each on its own GPU if there are several"""
    zero_stage: int = setting(1, choices=(0, 1, 2, 3), on_resume="change")
    """what DeepSpeed partitions over the ranks: 0 nothing, 1 the optimizer's state, 2 also the gradients (reduced after every
    micro-batch, which is slower), 3 also the parameters"""
    sequence_parallel: int = setting(1, at_least=1, on_resume="change")
    """ranks that split each sequence of a micro-batch, for long rollouts; it divides `ranks`"""
    offload_optimizer: bool = setting(False, on_resume="change")
    """whether to keep the optimizer's state in CPU memory and update there; ZeRO 1 to 3"""
    offload_parameters: bool = setting(False, on_resume="change")
    """whether to keep the parameters in CPU memory and fetch each layer when it computes; ZeRO 3"""
    dtype: str = setting("float32", choices=DTYPES, on_resume="keep")
    """`float32`, or `bfloat16` with float32 master weights; with an adapter, the dtype of the frozen base"""
    lr: float = setting(2e-4, above=0)
    """the learning rate after warm-up"""
    lr_schedule: str = setting("constant", choices=("constant", "linear", "cosine"))
    """after warm-up: `constant`, `linear` (to min_lr_ratio) or `cosine` (to min_lr_ratio)"""
    warmup_steps: int = setting(2, at_least=0)
    """training steps over which the learning rate rises linearly to lr"""
    min_lr_ratio: float = setting(0.1, at_least=0, at_most=1)
    """the learning rate of the last step, relative to lr"""
    weight_decay: float = setting(0.0, at_least=0)
    """weight decay of AdamW, for matrices only"""
    betas: tuple[float, float] = setting((0.9, 0.98), at_least=0, below=1)
    """betas of AdamW"""
    eps: float = setting(1e-8, above=0)
    """epsilon of AdamW"""
    grad_clip: float = setting(1.0, above=0)
    """largest global gradient norm"""
    micro_batch_tokens: int = setting(8192, at_least=1, on_resume="change")
    """padded tokens (prompt and completion) of a micro-batch that one rank computes"""
    logprob_chunk_tokens: int = setting(1024, at_least=1, on_resume="change")
    """tokens whose logits over the vocabulary are in memory at once"""
    gradient_checkpointing: bool = setting(False, on_resume="change")
    """whether to recompute activations in the backward pass instead of keeping them"""
    transport: str = setting("auto", choices=("auto", *TRANSPORTS))
    """how weights reach the engines: `shm` (shared memory on the host), `nccl` (each engine and rank on its own GPU), `ipc`
    (all on one GPU) or `auto`: the one that fits"""
    publish_bucket_mib: int = setting(256, at_least=1, on_resume="change")
    """whole weights, besides the learner's own, that are in memory at once during a weight sync"""
    timeout_s: float = wait(1800.0, on_resume="change")
    """longest wait for a call to all ranks, such as an update, and within it of one rank for another"""

    @property
    def parameter_dtype(self) -> str:
        """Return the dtype of the parameters that learn, as the model computes with them. An adapter's is always float32."""
        return "float32" if self.lora.rank else self.dtype
