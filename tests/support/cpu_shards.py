"""An engine whose workers, in a process each, share the model on CPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.engine_worker import ShardedExecutor
from tandem.runtime.segment import SHARED_MEMORY


class CpuShards(ShardedExecutor):
    """The executor of a model that several GPUs share, for workers that share the machine's cores."""

    def _init_executor(self) -> None:
        os.environ |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # vLLM would want a NUMA node for each worker
            "TORCHDYNAMO_DISABLE": "1",  # otherwise each worker compiles the function that ranks sampled tokens
        }
        super()._init_executor()


@contextmanager
def worker_files_removed() -> Iterator[None]:
    """Remove what workers leave in shared memory when they are killed, as vLLM kills those that do not end within seconds."""

    def found() -> set[Path]:
        return set(SHARED_MEMORY.glob("vllm_dist_*"))

    before = found()
    yield
    for path in found() - before:
        path.unlink(missing_ok=True)
