"""The arguments with which vLLM starts an engine. `engine_args.py` checks those that a run adds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vllm.config import ProfilerConfig, WeightTransferConfig
from vllm.engine.arg_utils import AsyncEngineArgs

from actors.engine_adapter import adapter_arguments
from actors.engine_spec import EngineSpec
from actors.engine_worker import BoundExecutor, ShardedExecutor
from tandem.runtime.units import GIB
from tandem.runtime.weights import SHM

STEP_TOKENS = {"cpu": 512, "cuda": 8192}
"""The most tokens of a step, by device, unless its sequences need more. Short steps keep both authors' engines busy: while one
engine prefills many prompts in one step, the other has no rollouts to write, and afterwards it gets all of them at the same
time."""
SCHEDULERS = {
    "cpu": "actors.handoff_scheduler.HandoffScheduler",
    "cuda": "actors.handoff_scheduler.AsyncHandoffScheduler",
}
"""The scheduler that ends turns, by device."""


def vllm_arguments(spec: EngineSpec, profile_folder: str | None = None) -> AsyncEngineArgs:
    """Return the arguments of the engine of `spec`, which writes its profiles, if any, to `profile_folder`."""
    on_cpu = spec.device == "cpu"
    given = dict(spec.engine_args)
    # On CPU, vLLM's rotary kernel for bfloat16 stores to addresses aligned to 16 bytes only, and crashes where half of
    # the rotated width is no multiple of 8, as in StableLM-3B. torch rotates instead.
    compilation = {"custom_ops": ["-rotary_embedding"] if on_cpu and spec.dtype == "bfloat16" else []}
    arguments = AsyncEngineArgs(
        model=spec.model,
        dtype=spec.dtype,
        seed=spec.seed,
        max_model_len=spec.max_model_len,
        max_num_seqs=spec.max_num_seqs,
        max_num_batched_tokens=max(
            STEP_TOKENS[spec.device], (2 + spec.draft_tokens) * spec.max_num_seqs, spec.max_model_len if on_cpu else 0
        ),
        # After each chunk of a prompt vLLM samples a token and resets the request's noise. On CPU it cannot reset noise
        # with a seed, and the engine would end.
        enable_chunked_prefill=not on_cpu,
        enforce_eager=spec.enforce_eager,
        compilation_config=compilation | given.pop("compilation_config", {}),
        kv_cache_memory_bytes=int(spec.kv_cache_gib * GIB) if on_cpu else None,
        gpu_memory_utilization=spec.gpu_memory_fraction,
        enable_sleep_mode=spec.sleeps and not on_cpu,  # on CPU, vLLM's workers accept the calls and keep their memory
        tensor_parallel_size=len(spec.gpus) or 1,
        # Not Ray, which vLLM would choose in a placement group: that has no bundles for the workers.
        distributed_executor_backend=BoundExecutor if on_cpu else ShardedExecutor if len(spec.gpus) > 1 else "uni",
        # Log-probabilities of the distribution that is sampled from, temperature applied.
        logprobs_mode="processed_logprobs",
        scheduler_cls=SCHEDULERS[spec.device],
        scheduling_policy="priority",  # the oldest rollouts first
        # Input and output are tokens; vLLM would call its tokenizer at every turn.
        skip_tokenizer_init=True,
        weight_transfer_config=None if spec.transport == SHM else WeightTransferConfig(backend=spec.transport),
        worker_extension_cls="actors.engine_worker.WeightReceiver",
        additional_config=spec.additional_config(),
        profiler_config=_profiling(profile_folder),
        speculative_config=_drafting(spec),
        async_scheduling=not on_cpu,
        enable_log_requests=False,
        disable_log_stats=True,
        **adapter_arguments(spec),
    )
    return replace(arguments, **given)


def _drafting(spec: EngineSpec) -> dict[str, Any] | None:
    """Return the configuration of vLLM's speculative decoding.

    A draft is the draft model's most likely tokens. Unlike with sampled drafts, the text is then the model's own even where
    vLLM gives a request the draft of another, as 0.32 does on CPUs.
    """
    if not spec.draft_tokens:
        return None
    draft = {"method": "draft_model", "model": spec.draft_model, "num_speculative_tokens": spec.draft_tokens}
    return {**draft, "draft_sample_method": "greedy", "draft_tensor_parallel_size": len(spec.gpus) or 1}


def _profiling(folder: str | None) -> ProfilerConfig:
    """Return the configuration of vLLM's profiler: operations without the Python around them."""
    if folder is None:
        return ProfilerConfig()
    return ProfilerConfig("torch", torch_profiler_dir=folder, torch_profiler_with_stack=False, ignore_frontend=True)
