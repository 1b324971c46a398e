"""A learner rank whose internals tests can read."""

from __future__ import annotations

import ctypes
import gc
import threading
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ClassVar
from unittest.mock import patch

import deepspeed
import numpy as np
import torch
from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_grad

from learner import zero
from learner.gather import GatheredWeights, Whole
from learner.rank import Rank, RankSpec
from learner.sequence_parallel import window_mask
from tandem.batching import RankPlan, collate, plan_step
from tandem.config.schema import Config
from tandem.plan.memory import REDUCE_BUCKET_SIZE
from tandem.rollout import Group

_M_MMAP_THRESHOLD = -3
"""The parameter of `mallopt`: larger blocks are returned to the system when they are freed."""


class CountedGathering(deepspeed.zero.GatheredParameters):
    """A gathering that counts the bytes of gathered tensors."""

    news: ClassVar = threading.Condition()
    begun: ClassVar[int] = 0
    whole: ClassVar[int] = 0
    peak: ClassVar[int] = 0

    def __enter__(self) -> None:
        super().__enter__()
        assert self.enabled, "nothing is partitioned"
        with self.news:
            CountedGathering.begun += 1
            CountedGathering.whole += sum(p.nbytes for p in self.params)
            CountedGathering.peak = max(self.peak, self.whole)
            self.news.notify_all()

    def __exit__(self, *error: Any) -> None:
        with self.news:
            CountedGathering.whole -= sum(p.nbytes for p in self.params)
        super().__exit__(*error)
        assert not any(p.nbytes for p in self.params), "they are partitioned again"


class ProbeRank(Rank):
    """A rank that can restart with another configuration and return its gradient and float32 weights.

    ZeRO-3 partitions all its parameters, however small.
    """

    def __init__(self, config: Config, spec: RankSpec) -> None:
        super().__init__(config, spec)
        zero.PERSISTENCE_THRESHOLD = 0

    def reload(self, config: Config, model_path: str, saved: Path | None = None, reference_path: str = "") -> None:
        """Restart from the model at `model_path` and the state in `saved`."""
        if hasattr(self, "publisher"):
            self.publisher.close()
        self.config, self.spec = config, replace(self.spec, model_path=model_path, reference_path=reference_path)
        self.load(saved)

    def peak_while_loading(self, config: Config, model_path: str) -> int:
        """Return the bytes of memory, file pages aside, that loading the model at `model_path` takes at its peak."""
        self.config = config
        # Otherwise the C library keeps freed memory, more or less of it as the order of calls has it.
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, 1 << 16)
        before, ended = _anonymous_bytes(), threading.Event()
        peaks = [before]

        def watch() -> None:
            while not ended.is_set():
                peaks.append(_anonymous_bytes())

        thread = threading.Thread(target=watch)
        thread.start()
        policy = self._policy(model_path)
        ended.set()
        thread.join()
        del policy
        return max(peaks) - before

    def train(self, groups: list[Group], step: int) -> dict[str, float]:
        """Update as in a run in which all ranks train on `groups`."""
        return self.update(self._share(groups, step), step)

    def _share(self, groups: list[Group], step: int) -> RankPlan:
        return plan_step(groups, step, self.config, self.spec.ranks)[self.spec.rank]

    def window_masks(self) -> int:
        """Return how many window masks are kept."""
        return window_mask.cache_info().currsize

    def gradient(self, groups: list[Group]) -> dict[str, np.ndarray]:
        """Return the whole gradient of one mini-batch, reduced over the ranks."""
        (mini_batch,) = self._share(groups, step=1)
        self.updater.accumulate(tuple(map(collate, mini_batch)))
        return {name: safe_get_full_grad(p).float().numpy() for name, p in self._parameters()}

    def master_weights(self) -> dict[str, np.ndarray]:
        """Return every parameter of the optimizer; without ZeRO this is the parameter itself."""
        partitioned = self.updater.engine.zero_optimization_stage() > 0
        whole = safe_get_full_fp32_param if partitioned else torch.Tensor.detach
        return {name: whole(p).numpy().copy() for name, p in self._parameters()}

    def optimizer_settings(self) -> tuple[float, list[float], list[tuple[float, float]]]:
        """Return the clipping norm, and each parameter group's weight decay and betas."""
        engine = self.updater.engine
        groups = engine.optimizer.param_groups
        return engine.optimizer.clip_grad, [g["weight_decay"] for g in groups], [tuple(g["betas"]) for g in groups]

    def stream_weights(self, bucket_bytes: int) -> tuple[int, int, int]:
        """Stream all weights through buckets of `bucket_bytes`, each delayed until the next is gathered, or for 0.2 s.

        Return the peak of gathered bytes, the number of bytes sent, and how often gathering overlapped sending.
        """
        CountedGathering.begun = CountedGathering.whole = CountedGathering.peak = 0
        sent: list[int] = []
        overlaps = 0

        def send(whole: Whole) -> None:
            nonlocal overlaps
            with CountedGathering.news:
                overlaps += CountedGathering.news.wait_for(lambda: CountedGathering.begun > len(sent) + 1, timeout=0.2)
            sent.append(sum(tensor.nbytes for _, tensor in whole))

        with patch.object(deepspeed.zero, "GatheredParameters", CountedGathering):
            GatheredWeights(self.updater.engine.module.model, bucket_bytes).stream(send)
        assert CountedGathering.whole == 0
        return CountedGathering.peak, sum(sent), overlaps

    def kept(self, groups: list[Group]) -> float:
        """Return the bytes of tensors per parameter after an update, without the buffer in which ZeRO-3 reduces gradients."""
        self.train(groups, step=1)
        numbers = sum(getattr(p, "ds_numel", p.numel()) for _, p in self._parameters())
        learner = self.config.learner
        buffer = REDUCE_BUCKET_SIZE * (learner.zero_stage == 3) * getattr(torch, learner.dtype).itemsize
        return (_tensor_bytes(self.updater.engine) - buffer) / numbers

    def gives_back(self, config: Config, model_path: str, groups: list[Group], shares_gpu: bool) -> list[str]:
        """Return the calls after which torch frees its cached memory, on a shared or unshared GPU."""
        after: list[str] = []
        calling = ""
        own, self.spec = self.spec, replace(self.spec, shares_gpu=shares_gpu)
        with patch.object(torch.cuda, "empty_cache", lambda: after.append(calling)):
            calling = "load"
            self.reload(config, model_path)
            calling = "update"
            self.train(groups, step=1)
        self.spec = own
        return after

    def _parameters(self) -> list[tuple[str, Any]]:
        return [(name, p) for name, p in self.updater.engine.module.model.named_parameters() if p.requires_grad]


def _anonymous_bytes() -> int:
    """Return the process's resident memory without the pages of files."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def _tensor_bytes(root: Any) -> int:
    """Return the bytes of all tensors that are reachable from `root`."""
    storages, seen, pending = {}, set(), [root]
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, ModuleType | FunctionType | type):
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            pending.append(thing.grad if thing.is_leaf else None)
        pending += gc.get_referents(thing)
    return sum(storages.values())
