"""Weights from GPU to GPU: NCCL and CUDA IPC, as vLLM's own weight transfer does them."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import ray
import torch
from ray.actor import ActorHandle
from ray.util import get_node_ip_address
from torch import Tensor
from vllm.distributed.weight_transfer import ParamMeta, WeightSource, WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.base import TrainerInitInfo, TrainerWeightTransferEngine
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo
from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

from learner.gather import GatheredWeights
from tandem.runtime.weights import NCCL, PublishedWeights


class Source(WeightSource):
    """The gathered weights as vLLM's trainer side takes them."""

    def __init__(self, weights: GatheredWeights) -> None:
        self._weights = weights

    def metadata(self) -> list[ParamMeta]:
        """Names, dtypes and whole shapes, without gathering anything."""
        return [ParamMeta(spec.name, getattr(torch, spec.dtype), spec.shape) for spec in self._weights.layout.tensors]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for spec, tensor in self._weights:
            yield spec.name, tensor


class Engines:
    """The senior engines as vLLM's trainer side calls them (its `VLLMWeightSyncClient`): all at once, until all are done."""

    def __init__(self, actors: Sequence[ActorHandle]) -> None:
        self._actors = actors

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Has every engine join the transfer."""
        infos = [dict(init_info) for _ in self._actors]
        if "rank_offset" in init_info:
            # Every engine believes itself the first: the offset tells it its place.
            for place, info in enumerate(infos):
                info["rank_offset"] += place
        ray.get([actor.transfer.remote("init", info) for actor, info in zip(self._actors, infos, strict=True)])

    def start_weight_update(self) -> None:
        """Has every engine stop writing and make ready for weights."""
        self._all("start")

    def update_weights(self, update_info: Any) -> None:
        """Has every engine take what `update_info` describes."""
        self._all("update", update_info)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Has every engine compute with what it took; it writes on when it is told the version."""
        self._all("finish")

    def _all(self, step: str, info: Any = None) -> None:
        ray.get([actor.transfer.remote(step, info) for actor in self._actors])


class DeviceTransport:
    """vLLM's weight transfer by `backend`, `nccl` or `ipc`; rank 0 sends and drives the engines through it.

    Half of `bucket_bytes` is gathered at a time; the other half is for vLLM's buffers on the way: two with NCCL, so that one is
    filled while the other is sent, and one with IPC.
    """

    def __init__(self, backend: str, weights: GatheredWeights, bucket_bytes: int, rank: int) -> None:
        self._backend, self._weights, self._bucket_bytes, self._rank = backend, weights, bucket_bytes, rank
        self._trainer: TrainerWeightTransferEngine | None = None

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """See `Transport.connect`. The engines must have been started for the same backend."""
        self._trainer = WeightTransferTrainerFactory.trainer_init(
            self._init_info(len(engines)), client=Engines(engines), source=Source(self._weights)
        )

    def _init_info(self, engines: int) -> TrainerInitInfo:
        largest = max(spec.nbytes for spec in self._weights.layout.tensors)
        if self._backend != NCCL:
            buffer = max(self._bucket_bytes // 2, largest)  # each tensor must fit
            return IPCTrainerInitInfo(packed=True, packed_buffer_size_bytes=buffer, rank=self._rank)
        with socket.create_server(("", 0)) as server:
            port: int = server.getsockname()[1]
        return NCCLTrainerInitInfo(
            master_address=get_node_ip_address(),
            master_port=port,
            world_size=1 + engines,
            packed=True,
            packed_buffer_size_bytes=max(1, self._bucket_bytes // 4),
            rank=self._rank,
        )

    def send(self, version: int) -> PublishedWeights | None:
        """See `Transport.send`. The engines stop writing meanwhile, and have the weights when it returns."""
        if self._trainer is None:
            raise RuntimeError(f"learner.transport={self._backend}: the learner was not connected to the engines")
        # vLLM gathers on streams of its own, which do not wait for the optimizer's step.
        torch.accelerator.synchronize()
        self._trainer.send_weights()
        return PublishedWeights(version, self._backend) if self._rank == 0 else None

    def close(self) -> None:
        """Leaves the transfer's process group."""
        if self._trainer is not None:
            self._trainer.shutdown()
            self._trainer = None
