"""The environment of vLLM's engines, and the server that the processes of CPU engines are forked from.

Importing vLLM takes a core about ten seconds. The server imports it once for all engines of an actor, while the actor imports
it too. It runs nothing else and has one thread, so that a fork of it is sound.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from tempfile import gettempdir


def set_vllm_environment() -> None:
    """Set vLLM's environment variables for this process and the engines that it starts. Call it before vLLM is imported."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    # The engines' sockets are where this process expects them, also if TMPDIR has changed since it first asked for the folder.
    os.environ.setdefault("VLLM_RPC_BASE_PATH", gettempdir())


def start_fork_server() -> BaseContext:
    """Start the server unless it runs already, and return the context of processes that are forked from it.

    They have the environment that this process had when the server started. Engines on GPUs are therefore spawned: each
    sees other GPUs.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["actors.preloaded"])
    forkserver.ensure_running()
    return context


def fork_engines(context: BaseContext) -> None:
    """Let vLLM start the processes of this process's engines by `context`; it has a setting for `spawn` and `fork` only."""
    from vllm.v1.engine import utils

    utils.get_mp_context = lambda: context
