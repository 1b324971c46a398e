"""The Ray cluster of a run: the one in RAY_ADDRESS, or a private one that is removed at the end."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import ray

from launch.cluster.environment import environment, temporary_base, worker_environment
from launch.cluster.locks import claimed_folder
from tandem.config.schema import ConfigError

ANSWER_TIMEOUT_S = 5.0
"""Seconds that the cluster in RAY_ADDRESS may take to accept a connection."""
ERROR_FILE = "error.txt"
"""The file among the logs with the traceback of the error that ended a run."""
_TOKEN = secrets.token_hex(32)
"""The authentication token of private clusters. Ray reads it once per process; its default is a file in the home folder, which
may not be writable."""


@contextmanager
def given_cluster() -> Iterator[None]:
    """Connect to the cluster in RAY_ADDRESS during the block, if it is set and this process is not connected yet.

    Raises `ConfigError` if there is no cluster or it rejects this process.
    """
    address = os.environ.get("RAY_ADDRESS")
    if ray.is_initialized() or not address:
        yield
        return
    if reason := no_answer(address):
        raise _unreachable(address, reason)
    try:
        with own_signals():
            ray.init(logging_level="ERROR", runtime_env={"env_vars": worker_environment()})
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise _unreachable(address, str(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def no_answer(address: str) -> str:
    """Return why `address`, a value of RAY_ADDRESS, accepts no connection.

    Empty if it accepts one, or if Ray must look up the address. Ray itself would take two minutes and then end the process.
    """
    try:
        host, port = urlsplit(address if "://" in address else f"ray://{address}").netloc.rsplit(":", 1)
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_TIMEOUT_S):
            return ""
    except OSError as error:
        return f"nothing answers there ({error})"
    except ValueError:  # no port: `auto`, or an address that Ray looks up
        return ""


def _unreachable(address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"RAY_ADDRESS={address}: {reason}\nStart a cluster (launch/cluster/start_node.sh) and give its address, or unset "
        "RAY_ADDRESS: the run then starts its own cluster"
    )


@contextmanager
def ray_cluster(logs: Path) -> Iterator[None]:
    """Connect to the cluster in RAY_ADDRESS, or start a private one on this machine, for the block.

    A nested block uses the cluster of the outer one. First removes the files of dead runs. After an error, copies Ray's logs,
    which contain the engines' errors, and the traceback to `logs`.
    """
    if os.environ.get("RAY_ADDRESS"):
        with given_cluster():
            yield
        return
    if ray.is_initialized():
        try:
            yield
        except Exception:
            _copy_logs(Path(os.environ["TMPDIR"]), logs)
            raise
        return
    with claimed_folder(temporary_base()) as folder:
        yield from _private_cluster(folder, logs)


def _private_cluster(folder: Path, logs: Path) -> Iterator[None]:
    """Start Ray in `folder`, yield, and stop it."""
    token = os.environ.get("RAY_AUTH_TOKEN", _TOKEN)
    # Ray logs that token authentication is on by default.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    with environment(TMPDIR=str(folder), RAY_AUTH_TOKEN=token):  # for the engines' sockets and files
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
            _copy_logs(folder, logs)
            raise
        finally:
            ray.shutdown()


def _copy_logs(folder: Path, logs: Path) -> None:
    """Copy the logs of the cluster in `folder` to `logs`, with the traceback of the current error."""
    if (source := folder / "session_latest" / "logs").is_dir():
        shutil.copytree(source, logs, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        (logs / ERROR_FILE).write_text(traceback.format_exc(), encoding="utf-8")


@contextmanager
def own_signals() -> Iterator[None]:
    """Restore the handler of SIGTERM after the block: Ray replaces it by one that prints a crash dump and exits."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
