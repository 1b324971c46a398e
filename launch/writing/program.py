"""The program: start the model's engine, serve the page until a signal, end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

import ray
from ray.actor import ActorHandle

from actors.engine_args import check_engine_args
from actors.engine_layout import engine_specs, reseeded
from actors.engine_spec import EngineSpec
from actors.person_actor import PersonActor
from actors.replica import ActorReplica
from actors.replicas import ReplicaSet
from actors.rollout_pool import MAX_CONCURRENT_CALLS
from actors.streaming_pool import StreamingPool
from launch.cluster.local_cluster import given_cluster, ray_cluster
from launch.cluster.nodes import cluster_nodes, connected
from launch.cluster.plan import machine_plan
from launch.entry import check_own_settings
from launch.serving.gate import LOCAL, Gate
from launch.serving.inputs import read_serving_inputs
from launch.serving.listening import address_of, bound_socket, run_server
from launch.serving.metrics import Metrics
from launch.status import ENGINES, status, usual_start
from launch.terminal import terminal_console
from launch.writing.folder import WritingFolder
from launch.writing.routes import create_app
from launch.writing.texts import Texts
from tandem.authors import Authors
from tandem.config.schema import Config, ConfigError
from tandem.data.problems import load_with_held_out
from tandem.records.run_record import LOGS
from tandem.rollout import JUNIOR, SENIOR
from tandem.runtime.restarts import RestartBudget
from tandem.schedule import solo_config
from tandem.verify.pool import VerifierPool

DRAIN_S = 1
"""The seconds that requests have to end after a signal, which cancels all texts."""


def write(config: Config) -> None:
    """Serve the page on which a person writes with the other author, until SIGINT or SIGTERM."""
    check_own_settings(config, "launch/write.py")
    check_engine_args(config.rollout)
    if (host := config.serve.host) not in LOCAL:
        raise ConfigError(f"serve.host={host}: the page is for this machine alone; leave it out, or give {LOCAL[0]}")
    if config.mode.name == "cluster":
        raise ConfigError("mode.name=cluster: the page and its one engine are for this machine alone; leave it out")
    person = SENIOR if config.role == "senior" else JUNIOR
    with bound_socket(config) as listener, given_cluster():
        if connected() and (nodes := len(cluster_nodes())) > 1:
            raise ConfigError(
                f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}: this cluster has {nodes} nodes, and the page is for this machine "
                "alone; unset RAY_ADDRESS"
            )
        config, authors, plan = read_serving_inputs(config, machine_plan)
        gpus = plan.gpus_per_replica
        if person == SENIOR:
            _check_junior(config, authors)
        _, prompts = load_with_held_out(config, authors)
        folder, console, judge = WritingFolder(config), terminal_console(), config.judge
        model = authors.juniors[0].path if person == SENIOR else authors.senior
        with (
            folder,
            ray_cluster(logs=folder.path / LOGS),
            _engine(config, authors, person, gpus, RestartBudget.of(config.guard, console.print)) as engine,
            VerifierPool(1, judge.timeout_s, judge.memory_gib, judge.answer_pattern, config.data.verifier) as verifier,
        ):
            with status(f"Starting the engine of {model}", usual_start(ENGINES, on_gpus=gpus > 0), console):
                engine.await_started()
            pool = StreamingPool(engine)
            texts = Texts(config, authors, person, prompts, pool, verifier, folder)
            gate = Gate(create_app(texts), "", config.serve.max_body_kib * 1024, Metrics(), frozenset())
            started = f"open {address_of(listener)} in a browser; you are the {config.role}. Ctrl-C ends the program"
            on_start = partial(console.print, started, soft_wrap=True)
            asyncio.run(run_server(gate, listener, on_start, pool.collect(), DRAIN_S, texts.stop))


def _check_junior(config: Config, authors: Authors) -> None:
    """Raise `ConfigError` unless there is one junior, which shares the senior's tokenizer."""
    if len(authors.juniors) > 1:
        raise ConfigError(f"junior={config.junior}: role=senior writes with one junior; name one")
    if authors.juniors[0].translation:
        raise ConfigError(
            f"junior={config.junior}: its tokenizer is not the senior's; role=senior needs a junior that shares it"
        )


def model_specs(config: Config, authors: Authors, person: int, gpus: float = 0.0) -> list[EngineSpec]:
    """Return the spec of the engine of the author that is not the `person`, on all cores or with `gpus` GPUs."""
    config = replace(config, rollout=replace(config.rollout, replicas=1))
    if person == JUNIOR:
        config = replace(solo_config(config), eval=replace(config.eval, measures=["solo"]))
    cores = tuple(sorted(os.sched_getaffinity(0))[: config.mode.cpu_cores or None])
    device, own_gpus = "cuda" if gpus else "cpu", gpus > 1
    (pair,) = engine_specs(config, authors, device, cores=(cores, cores), own_gpus=own_gpus, streams=True)
    return [spec for spec in pair if spec.author != person]


@contextmanager
def _engine(config: Config, authors: Authors, person: int, gpus: float, budget: RestartBudget) -> Iterator[ReplicaSet]:
    """Start the engine of the author that is not the `person`, without waiting; end it after the block."""
    specs = model_specs(config, authors, person, gpus)
    actor = ray.remote(PersonActor).options(num_cpus=0, num_gpus=gpus, max_concurrency=MAX_CONCURRENT_CALLS)

    def create(generation: int) -> ActorHandle:
        return actor.remote(reseeded(specs, generation))

    with closing(ReplicaSet([ActorReplica(create)], config.guard, budget, wait=False)) as engine:
        yield engine
