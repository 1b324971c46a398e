"""The machine that the stages run on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from launch.cluster.machine import describe_machine
from launch.cluster.nodes import gpu_gib
from launch.packages import recorded_versions


@dataclass(frozen=True)
class Machine:
    """The GPUs of a machine, and what identifies it in results."""

    gpus: int
    gpu_gib: float
    """memory of the smallest GPU; 0: unknown"""
    facts: dict[str, str]


def this_machine() -> Machine:
    """Return this machine. Allocates no GPU memory."""
    gpus, gib = torch.cuda.device_count(), gpu_gib()
    facts = {"processor": describe_machine(), "GPUs": f"{gpus} of {gib:.0f} GiB" if gpus else "none"}
    return Machine(gpus, gib, facts | recorded_versions())
