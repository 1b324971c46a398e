"""A Ray cluster for one run: the one this job was submitted to, or a private one that leaves nothing behind."""

from __future__ import annotations

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
    # Short, because Unix socket paths may have only 107 bytes; and gone afterwards.
    folder = Path(tempfile.mkdtemp(prefix="tandem-"))
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

    Raises `ConfigError` when mode.device=cuda and there is none.
    """
    gpus = torch.cuda.device_count() if config.mode.device != "cpu" else 0
    if not gpus:
        if config.mode.device == "cuda":
            raise ConfigError("mode.device=cuda: there is no GPU that torch can use; choose mode.device=cpu")
        return Shares(0.0, 0.0)
    claims = config.rollout.replicas + config.learner.ranks
    share = 1.0 if gpus >= claims else int(100 * gpus / claims) / 100
    return Shares(share, share)
