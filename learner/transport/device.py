"""Weights from GPU to GPU by vLLM's weight transfer: NCCL and CUDA IPC."""

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


class DeviceSource(WeightSource):
    """The gathered weights as a source for vLLM's trainer side."""

    def __init__(self, weights: GatheredWeights) -> None:
        self._weights = weights

    def metadata(self) -> list[ParamMeta]:
        """Return names, dtypes and whole shapes without gathering."""
        return [ParamMeta(spec.name, getattr(torch, spec.dtype), spec.shape) for spec in self._weights.layout.tensors]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for spec, tensor in self._weights:
            yield spec.name, tensor


class Engines:
    """The senior engines, of `gpus` GPUs each, as a `VLLMWeightSyncClient`: each method calls all and waits for them."""

    def __init__(self, actors: Sequence[ActorHandle], gpus: int) -> None:
        self._actors, self._gpus = actors, gpus

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Have every engine join the transfer."""
        infos = [dict(init_info) for _ in self._actors]
        if "rank_offset" in init_info:
            # Each engine numbers its workers as if it were the only one; the offset distinguishes them.
            for index, info in enumerate(infos):
                info["rank_offset"] += index * self._gpus
        ray.get([actor.transfer.remote("init", info) for actor, info in zip(self._actors, infos, strict=True)])

    def start_weight_update(self) -> None:
        """Pause every engine and prepare it for new weights."""
        self._all("start")

    def update_weights(self, update_info: Any) -> None:
        """Have every engine load the weights that `update_info` describes."""
        self._all("update", update_info)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Have every engine use the new weights. It resumes when it gets the version."""
        self._all("finish")

    def _all(self, step: str, info: Any = None) -> None:
        ray.get([actor.transfer.remote(step, info) for actor in self._actors])


class DeviceTransport:
    """vLLM's weight transfer by `backend`, `nccl` or `ipc`, to engines of `engine_gpus` GPUs each. Rank 0 sends and calls them.

    Half of `bucket_bytes` is gathered at a time. The other half is for vLLM's buffers: two with NCCL, so that one is filled
    while the other is sent, and one with IPC.
    """

    def __init__(self, backend: str, weights: GatheredWeights, bucket_bytes: int, rank: int, engine_gpus: int = 1) -> None:
        self._backend, self._weights, self._bucket_bytes, self._rank = backend, weights, bucket_bytes, rank
        self._engine_gpus = engine_gpus
        self._trainer: TrainerWeightTransferEngine | None = None

    def connect(self, engines: Sequence[ActorHandle]) -> None:
        """Connect to the engines, which must have been started for the same backend."""
        self.close()
        client = Engines(engines, self._engine_gpus)
        self._trainer = WeightTransferTrainerFactory.trainer_init(
            self._init_info(len(engines)), client=client, source=DeviceSource(self._weights)
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
            world_size=1 + engines * self._engine_gpus,
            packed=True,
            packed_buffer_size_bytes=max(1, self._bucket_bytes // 4),
            rank=self._rank,
        )

    def send(self, version: int) -> PublishedWeights | None:
        """Send the current weights. The engines pause meanwhile and have loaded the weights on return."""
        if self._trainer is None:
            raise RuntimeError(f"learner.transport={self._backend}: the learner was not connected to the engines")
        # vLLM gathers on its own streams, which do not wait for the optimizer's step.
        torch.accelerator.synchronize()
        self._trainer.send_weights()
        return PublishedWeights(version, self._backend, layout=self._weights.layout) if self._rank == 0 else None

    def close(self) -> None:
        """Leave the transfer's process group."""
        if self._trainer is not None:
            self._trainer.shutdown()
            self._trainer = None
