"""Tests of an engine whose workers, in a process each, share the model; on CPUs, where vLLM allows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from actors.engine_layout import engine_specs
from learner.publish import Publisher
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.rollout import SENIOR, Prompt
from tandem.schedule import SOLO
from tests.support.cpu_shards import CpuShards, worker_files_removed
from tests.support.engine_pair import EnginePair
from tests.support.writing import forward_logprobs, write

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def sharded(config: Config, authors: Authors) -> Iterator[EnginePair]:
    """A senior's engine with two workers."""
    senior = engine_specs(config, authors, "cpu")[0][0]
    shards = {"tensor_parallel_size": 2, "distributed_executor_backend": CpuShards}
    with worker_files_removed():
        pair = EnginePair([replace(senior, engine_args=shards)])
        yield pair
        pair.close()


def test_workers_load_weights_and_report_together(
    sharded: EnginePair, authors: Authors, prompts: list[Prompt], tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)
    publisher = Publisher(model, tmp_path / "segment", bucket_bytes=1 << 20)
    checksums = []
    for version in (1, 2):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
        published = publisher.publish(version)
        assert published is not None
        assert sharded.run(sharded.actor.receive_weights(published)) == version
        for rollout in write(sharded, prompts[:4], SOLO, f"v{version}", max_tokens=32):
            np.testing.assert_allclose(rollout.logprobs, forward_logprobs(model, rollout), atol=1e-4)
        (checksum,) = sharded.run(sharded.actor.checksums(SENIOR))
        checksums.append(checksum.split("-"))
    (first, second), (third, fourth) = checksums
    assert len({first, second, third, fourth}) == 4, "each worker has a shard of its own, which a sync changes"
    assert sharded.run(sharded.actor.kv_use())["senior"].peak > 0
    publisher.close()
