"""Further arguments of vLLM's engines that a run gives (`rollout.engine_args`), checked by name without importing vLLM."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache

from tandem.config.rollout import RolloutConfig
from tandem.config.schema import ConfigError
from tandem.models.vllm_source import vllm_statements

KEYS = ("engine_args", "junior_engine_args")
TURNS = "turns, versions and log-probabilities depend on it; leave it out"
TEXTS = "texts are tokens here, and no prompt has another form; leave it out"
PARTS = "the plan places engines by rollout.senior_tensor_parallel and rollout.junior_tensor_parallel; use those"
RESERVED = {
    "model": "model.path and junior name the models; use those",
    "dtype": "model.dtype and junior_dtypes set it; use those",
    "seed": "seed sets it; use that",
    "max_model_len": "data.max_prompt_tokens and rollout.sampling.max_tokens determine it; use those",
    "max_num_seqs": "rollout.max_in_flight sets it; use that",
    "enforce_eager": "rollout.enforce_eager sets it; use that",
    "kv_cache_memory_bytes": "rollout.kv_cache_gib and rollout.gpu_memory_fraction set it; use those",
    "gpu_memory_utilization": "rollout.gpu_memory_fraction and rollout.junior_gpu_memory_fraction set it; use those",
    "enable_sleep_mode": "rollout.sleep sets it; use that",
    "tensor_parallel_size": PARTS,
    "pipeline_parallel_size": PARTS,
    "data_parallel_size": PARTS,
    "distributed_executor_backend": PARTS,
    "weight_transfer_config": "learner.transport sets it; use that",
    "profiler_config": "profile sets it; use that",
    "enable_chunked_prefill": "a request's noise would be reset after each chunk on CPUs; leave it out",
    "skip_tokenizer_init": TEXTS,
    "enable_lora": "learner.lora.rank and learner.lora.sync set it; use those",
    "speculative_config": "a turn may end within a draft; leave it out (launch/serve.py: speculative)",
    "logprobs_mode": TURNS,
    "scheduler_cls": TURNS,
    "scheduling_policy": "rollouts would wait for each other where the KV cache is short; leave it out",
    "worker_extension_cls": TURNS,
    "additional_config": TURNS,
    "async_scheduling": TURNS,
    "enable_log_requests": "requests are turns, and the run logs rollouts (log.rollouts); leave it out",
    "disable_log_stats": "the run logs engine/kv_usage and its rates; leave it out",
}
"""The arguments that a run may not give, and why."""


def check_engine_args(rollout: RolloutConfig) -> None:
    """Raise `ConfigError` for arguments that vLLM's engine does not have, or that other settings determine."""
    if errors := [line for key in KEYS for line in _errors(key, getattr(rollout, key))]:
        raise ConfigError("\n".join(errors))


def _errors(key: str, given: dict[str, object]) -> Iterator[str]:
    for name, value in given.items():
        if name in RESERVED:
            yield f"rollout.{key}.{name}={value}: {RESERVED[name]}"
        elif name not in argument_names():
            close = get_close_matches(name, argument_names(), n=3)
            remedy = f"choose {' or '.join(close)}" if close else "see the engine arguments in vLLM's documentation"
            yield f"rollout.{key}.{name}={value}: vLLM's engine has no such argument; {remedy}"


@cache
def argument_names() -> tuple[str, ...]:
    """Return the names of the arguments of vLLM's engine, read from its source."""
    statements = vllm_statements("engine/arg_utils.py")
    assert statements is not None, "vLLM is not installed"
    classes = [node for node in statements if isinstance(node, ast.ClassDef)]
    fields = [
        field.target.id
        for each in classes
        if each.name in ("EngineArgs", "AsyncEngineArgs")
        for field in each.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]
    return tuple(name for name in fields if not name.startswith("_"))
