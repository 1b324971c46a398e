"""The server: start the engines, serve until a signal, end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import uvicorn
from rich.console import Console

from actors.engine_args import check_engine_args
from actors.rollout_pool import RolloutPool
from launch.cluster.local_cluster import ray_cluster
from launch.cluster.plan import machine_plan
from launch.entry import check_trains_nothing
from launch.evaluation.evaluate import measured_authors
from launch.serving.api import PATHS, create_app
from launch.serving.gate import LOCAL, Gate
from launch.serving.schedules import MODELS, with_schedules
from launch.serving.service import Service
from launch.storage.places import named_folder
from tandem.authors import Authors, check_excluded, run_boundaries
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config, ConfigError
from tandem.plan.run_plan import planned
from tandem.runtime.restarts import RestartBudget

KEY_VARIABLE = "TANDEM_API_KEY"
DRAIN_S = 10
"""The seconds that requests have to end after a signal; then their texts are cancelled."""


def serve(config: Config) -> None:
    """Serve `config.senior`, or the base model, and its junior until SIGINT or SIGTERM."""
    check_trains_nothing(config)
    check_engine_args(config.rollout)
    key = _api_key(config)
    with _bound_socket(config) as listener:
        config, authors, gpus = _inputs(config)
        console = Console()
        console.print(f"starting the engines of {authors.senior} and {', '.join(str(j.path) for j in authors.juniors)} ...")
        logs = named_folder(config, f"{datetime.now():%Y%m%d-%H%M%S}-serving") / "logs"
        restarts = RestartBudget(config.guard.max_restarts_per_hour, console.print)
        with (
            ray_cluster(logs=logs),
            RolloutPool.of_engines(config, authors, gpus_per_replica=gpus, budget=restarts, streams=True) as pool,
        ):
            host, port = listener.getsockname()[:2]
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            started = f"{', '.join(MODELS)} at {address}/v1; {sum(pool.admitted)} texts are written at a time"
            service = Service(config, authors, pool)
            asyncio.run(_run(config, service, key, listener, lambda: console.print(started, soft_wrap=True)))


def _inputs(config: Config) -> tuple[Config, Authors, float]:
    """Return the settings of the server, the authors, and each replica's GPUs. Raises `ConfigError`."""
    if config.schedule.name == "solo" and config.junior_translation:
        config = replace(config, schedule=ScheduleConfig())
    unscheduled = config if config.junior_translation else replace(config, schedule=ScheduleConfig(name="solo"))
    authors = measured_authors(replace(unscheduled, eval=replace(config.eval, measures=["solo"])))
    config = with_schedules(config, authors)
    plan = machine_plan(config, learns=False)
    config = planned(config, plan)
    if plan.gpus_per_replica:
        check_excluded(config, authors)
    boundaries = run_boundaries(config, authors.tokenizer, authors.vocabulary)
    return config, replace(authors, boundaries=boundaries), plan.gpus_per_replica


def _api_key(config: Config) -> str:
    """Return the API key of the environment; empty: none. Raises `ConfigError` if the address needs one."""
    key = os.environ.get(KEY_VARIABLE, "")
    if not key and config.serve.host not in LOCAL:
        raise ConfigError(
            f"serve.host={config.serve.host}: other machines may reach this address; set an API key in the environment "
            f"variable {KEY_VARIABLE}, or serve {LOCAL[0]}"
        )
    return key


def _bound_socket(config: Config) -> socket.socket:
    """Return a socket at the server's address, which does not listen yet. Raises `ConfigError`."""
    host, port = config.serve.host, config.serve.port
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise ConfigError(
            f"serve.host={host} serve.port={port}: the address cannot be used ({error}); choose another, or serve.port=0 for "
            "any free port"
        ) from error
    return bound


async def _run(config: Config, service: Service, key: str, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Serve until a signal. Raises what ends the engines for good."""
    app = create_app(service)
    gate = Gate(app, key, config.serve.max_body_kib * 1024, service.metrics, frozenset(PATHS))
    server = _Server(
        uvicorn.Config(gate, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN_S),
        on_start,
    )
    collecting = asyncio.ensure_future(service.pool.collect())
    collecting.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve([listener])
        if collecting.done():
            collecting.result()
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)


class _Server(uvicorn.Server):
    """A server that calls `on_start` once it listens."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        self._on_start()
