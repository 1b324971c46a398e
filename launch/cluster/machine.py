"""A description of this machine, for measurements."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil
import torch

from tandem.runtime.units import GIB


def describe_machine() -> str:
    """Return the processor with its widest instructions, the usable cores and the memory."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in cpuinfo.read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = psutil.virtual_memory().total / GIB
    processor = f"{names[0] if names else platform.processor()} ({torch.backends.cpu.get_cpu_capability()})"
    return f"{processor}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB"
