"""Tests of the transports between GPUs: up to the calls that need a GPU, and completely where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
import torch
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM
from vllm.distributed.weight_transfer import ipc_engine, nccl_engine
from vllm.distributed.weight_transfer.packed_tensor import PackedIpcChunk

from actors.rollout_pool import RolloutPool
from learner.group import LearnerGroup
from learner.publish import Publisher
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.rollout import Problem, Prompt
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.weights import IPC, NCCL, TRANSPORTS
from tandem.schedule import SOLO
from tests.support.random_groups import random_groups
from tests.support.recording_actor import RecordingActor
from tests.support.writing import forward_logprobs

pytestmark = pytest.mark.engines

BUCKET = 1 << 15


@pytest.fixture
def model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    shape = Qwen3Config(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=48,
    )
    return Qwen3ForCausalLM(shape).bfloat16()


@pytest.fixture
def engines(ray_session: None) -> Iterator[list[Any]]:
    """Two recording actors."""
    actors = [ray.remote(num_cpus=0)(RecordingActor).remote() for _ in range(2)]
    yield actors
    for actor in actors:
        ray.kill(actor)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, torch.Tensor]]:
    """Record what vLLM is to broadcast or share, in place of the calls that need a GPU."""
    tensors: list[tuple[str, torch.Tensor]] = []

    def broadcast(iterator: Iterator[tuple[str, torch.Tensor]], **options: Any) -> None:
        assert options["group"] == "group" and options["buffer_size_bytes"] == BUCKET // 4
        tensors.extend((name, tensor.clone()) for name, tensor in iterator)

    def share(iterator: Iterator[tuple[str, torch.Tensor]], *, buffer_size_bytes: int, **_: Any) -> Iterator[PackedIpcChunk]:
        for name, tensor in iterator:
            assert tensor.nbytes <= buffer_size_bytes
            tensors.append((name, tensor.clone()))
            yield PackedIpcChunk(
                names=[name],
                shapes=[list(tensor.shape)],
                dtype_names=[str(tensor.dtype).removeprefix("torch.")],
                tensor_sizes=[tensor.nbytes],
                ipc_handle={"gpu": ("handle", name)},
            )

    monkeypatch.setattr(nccl_engine, "open_trainer_endpoint", lambda info: "group")
    monkeypatch.setattr(nccl_engine, "packed_nccl_broadcast_producer", broadcast)
    monkeypatch.setattr(ipc_engine, "packed_ipc_producer", share)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="gpu"))
    monkeypatch.setattr(torch.cuda, "ipc_collect", lambda: None)
    return tensors


@pytest.mark.parametrize("transport", [NCCL, IPC])
def test_rank_0_sends_every_tensor_and_calls_the_engines(
    model: Qwen3ForCausalLM, engines: list[Any], sent: list[tuple[str, torch.Tensor]], tmp_path: Path, transport: str
) -> None:
    publisher = Publisher(model, tmp_path / "unused", bucket_bytes=BUCKET, transport=transport)
    publisher.connect(engines)
    published = publisher.publish(4)
    assert published is not None
    assert (published.version, published.transport, published.path) == (4, transport, "")
    weights = dict(model.named_parameters())
    assert [name for name, _ in sent] == list(weights)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in sent)
    for place, told in enumerate(ray.get([engine.all.remote() for engine in engines])):
        (init, info), (start, _), *updates, (finish, _) = told
        assert (init, start, finish) == ("init", "start", "finish") and {step for step, _ in updates} == {"update"}
        announced = [[row for _, update in updates for row in update[key]] for key in ("names", "dtype_names", "shapes")]
        assert announced == [list(weights), ["bfloat16"] * len(weights), [list(p.shape) for p in weights.values()]]
        if transport == NCCL:
            assert len(updates) == 1, "NCCL connects to the engines in one call"
            assert (info["rank_offset"], info["world_size"], info["packed"]) == (1 + place, 3, True)
            assert info["master_port"] > 0 and info["packed_buffer_size_bytes"] == BUCKET // 4
        else:
            assert info == {"packed": True}
            assert [update["ipc_handles"]["gpu"] for _, update in updates] == [("handle", name) for name in weights]
    assert not (tmp_path / "unused").exists()


def test_other_ranks_gather_without_calling_engines(
    model: Qwen3ForCausalLM, engines: list[Any], sent: list[tuple[str, torch.Tensor]], tmp_path: Path
) -> None:
    publisher = Publisher(model, tmp_path / "unused", bucket_bytes=BUCKET, rank=1, transport=NCCL)
    publisher.connect(engines)
    assert publisher.publish(1) is None and not sent
    assert ray.get([engine.all.remote() for engine in engines]) == [[], []]


@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_workers_of_sharded_engines_have_ranks_of_their_own(
    model: Qwen3ForCausalLM, engines: list[Any], sent: list[tuple[str, torch.Tensor]], tmp_path: Path, gpus: int
) -> None:
    publisher = Publisher(model, tmp_path / "unused", bucket_bytes=BUCKET, transport=NCCL, engine_gpus=gpus)
    publisher.connect(engines)
    infos = [ray.get(engine.all.remote())[0][1] for engine in engines]
    workers = [info["rank_offset"] + worker for info in infos for worker in range(gpus)]
    assert workers == list(range(1, 1 + 2 * gpus)) and all(info["world_size"] == 1 + 2 * gpus for info in infos)


@pytest.mark.parametrize("transport", [NCCL, IPC])
def test_engines_without_connection_receive_nothing(model: Qwen3ForCausalLM, tmp_path: Path, transport: str) -> None:
    publisher = Publisher(model, tmp_path / "unused", bucket_bytes=BUCKET, transport=transport)
    with pytest.raises(RuntimeError, match=f"learner.transport={transport}: the learner was not connected"):
        publisher.publish(1)
    publisher.close()


@pytest.mark.gpu
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_weights_reach_engine_on_gpu(
    ray_session: None, config: Config, authors: Authors, tmp_path: Path, transport: str
) -> None:
    if transport == NCCL and torch.cuda.device_count() < 2:
        pytest.skip("NCCL lets no two processes share a GPU: needs two")
    settings, share = deepcopy(config), 1.0 if transport == NCCL else 0.5
    settings.learner.zero_stage, settings.learner.publish_bucket_mib = 3, 1
    settings.rollout.gpu_memory_fraction = settings.rollout.junior_gpu_memory_fraction = 0.2
    ids = torch.randint(5, 150, (60,), generator=torch.Generator().manual_seed(1)).tolist()
    prompt, sampling = Prompt(Problem("0", "?", "!"), tuple(ids)), settings.rollout.sampling
    with (
        LearnerGroup(settings, str(authors.senior), tmp_path / "weights", gpus_per_rank=share, transport=transport) as learner,
        RolloutPool.of_engines(settings, authors, RestartBudget(0), gpus_per_replica=share, transport=transport) as pool,
    ):
        learner.connect(pool.actors)
        for version in (1, 2):
            learner.update(random_groups(version, vocabulary=150), version)
            assert pool.finish_weight_sync(learner.publish(version)) == [version]
            learner.export(tmp_path / str(version))
            ((rollout,),) = (group.rollouts for group in pool.generate([prompt], 1, SOLO, sampling, f"after{version}"))
            model = AutoModelForCausalLM.from_pretrained(tmp_path / str(version))
            expected = forward_logprobs(model, rollout, sampling.temperature)
            np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-2)
