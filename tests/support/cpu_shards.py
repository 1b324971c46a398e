"""An executor of several workers on CPUs."""

from __future__ import annotations

import os

from actors.engine_worker import ShardedExecutor


class CpuShards(ShardedExecutor):
    """The executor of a model that several GPUs share, for workers that share the machine's cores."""

    def _init_executor(self) -> None:
        os.environ |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # vLLM would want a NUMA node for each worker
            "TORCHDYNAMO_DISABLE": "1",  # otherwise each worker compiles the function that ranks sampled tokens
        }
        super()._init_executor()
