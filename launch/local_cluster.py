"""A Ray cluster for one run: the one this job was submitted to, or a private one that leaves nothing behind."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
import torch

from tandem.config import Config, ConfigError

LONGEST_BASE = 20
"""Characters of a temporary directory's path that leave room for Ray's socket names."""


@dataclass(frozen=True)
class Shares:
    """GPUs for each rollout replica and each learner rank; 0 on the CPU."""

    replica: float
    rank: float


@contextmanager
def ray_cluster(logs: Path) -> Iterator[None]:
    """Connects to the cluster in RAY_ADDRESS, or starts one on this machine and ends it again.

    After an error the private cluster's logs are kept in `logs`, since that is where an engine says why it died.
    """
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level="ERROR")
        try:
            yield
        finally:
            ray.shutdown()
        return
    # Ray's sockets lie some 70 characters deeper, and the path of a Unix socket may have only 107.
    base = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="tandem-", dir=base if len(base) <= LONGEST_BASE else "/tmp"))
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
    except BaseException:
        ray.shutdown()
        shutil.copytree(folder / "session_latest" / "logs", logs, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        raise
    finally:
        ray.shutdown()
        del os.environ["TMPDIR"]
        os.environ |= {"TMPDIR": elsewhere} if elsewhere else {}
        shutil.rmtree(folder, ignore_errors=True)


def gpu_shares(config: Config) -> Shares:
    """How this machine's GPUs are divided; every replica and rank gets the same.

    Raises `ConfigError` when mode.device=cuda and there is none, and when several ranks would have to share one.
    """
    gpus = torch.cuda.device_count() if config.mode.device != "cpu" else 0
    if not gpus:
        if config.mode.device == "cuda":
            raise ConfigError("mode.device=cuda: there is no GPU that torch can use; choose mode.device=cpu")
        return Shares(0.0, 0.0)
    claims = config.rollout.replicas + config.learner.ranks
    # A fraction must fit on one GPU: so many claims on each.
    share = 1 / math.ceil(claims / gpus)
    if share < 1 and config.learner.ranks > 1:
        raise ConfigError(
            f"learner.ranks={config.learner.ranks}: {gpus} GPUs are too few for {claims} replicas and ranks, and NCCL lets no "
            "two ranks share one; use learner.ranks=1 or fewer replicas"
        )
    return Shares(share, share)
