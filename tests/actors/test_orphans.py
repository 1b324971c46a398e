"""A test that engines end with their rollout actor."""

from __future__ import annotations

from dataclasses import replace

import psutil
import pytest
import ray

from actors.engine_layout import engine_specs
from actors.rollout import RolloutActor
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.runtime.processes import on_this_host
from tests.support.cpu_shards import CpuShards, worker_files_removed

pytestmark = pytest.mark.engines


@pytest.mark.usefixtures("ray_session")
@worker_files_removed()
def test_engines_of_killed_actor_end(config: Config, authors: Authors) -> None:
    """The senior's engine has two workers in processes of their own, the junior's has none."""
    senior, junior = engine_specs(config, authors, "cpu")[0]
    sharded = replace(senior, engine_args={"tensor_parallel_size": 2, "distributed_executor_backend": CpuShards})
    actor = ray.remote(RolloutActor).options(num_cpus=0).remote([sharded, junior])
    ray.get(actor.start.remote())
    running = on_this_host(ray.get(actor.processes.remote()))
    workers = [child for process in running.values() for child in process.children(recursive=True)]
    assert len(running) == 3
    running[""].kill()
    _, alive = psutil.wait_procs([*running.values(), *workers], timeout=30)
    for process in alive:
        process.kill()
    assert not alive
