"""An executor of several workers on CPUs, and the removal of what killed workers leave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from actors.engine_worker import ShardedExecutor
from tandem.runtime.segment import SHARED_MEMORY
from tests.support.shared_memory import mapped_files


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
    """Remove, after the block, the files that killed workers leave in shared memory. vLLM kills those that are slow to end."""

    def found() -> set[Path]:
        return set(SHARED_MEMORY.glob("vllm_dist_*"))

    before = found()
    try:
        yield
    finally:
        for path in found() - before - mapped_files(psutil.process_iter()):
            path.unlink(missing_ok=True)
