"""The server: start the engines, serve until a signal, end."""

from __future__ import annotations

import asyncio
import os
from functools import partial

from actors.engine_args import check_engine_args
from launch.cluster.local_cluster import given_cluster, ray_cluster
from launch.entry import check_own_settings
from launch.evaluation.workers import placed_engines
from launch.serving.api import PATHS, create_app
from launch.serving.gate import LOCAL, Gate
from launch.serving.inputs import read_serving_inputs
from launch.serving.listening import address_of, bound_socket, run_server
from launch.serving.service import Service
from launch.status import ENGINES, status, usual_start
from launch.storage.places import dated_name, named_folder
from launch.terminal import terminal_console
from tandem.config.schema import Config, ConfigError
from tandem.records.run_record import LOGS
from tandem.runtime.restarts import RestartBudget

KEY_VARIABLE = "TANDEM_API_KEY"


def serve(config: Config) -> None:
    """Serve `config.senior`, or the base model, and its junior until SIGINT or SIGTERM."""
    check_own_settings(config, "launch/serve.py")
    check_engine_args(config.rollout)
    key = _api_key(config)
    with bound_socket(config) as listener, given_cluster():
        config, authors, plan = read_serving_inputs(config)
        console = terminal_console()
        models = ", ".join(map(str, [authors.senior, *(junior.path for junior in authors.juniors)]))
        logs = named_folder(config, dated_name("serving")) / LOGS
        restarts = RestartBudget.of(config.guard, console.print)
        with ray_cluster(logs=logs), placed_engines(config, authors, plan, restarts, streams=True) as pool:
            with status(f"Starting the engines of {models}", usual_start(ENGINES, on_gpus=plan.on_gpus), console):
                pool.await_started()
            service = Service(config, authors, pool)
            started = f"{', '.join(service.models)} at {address_of(listener)}/v1; at most {sum(pool.admitted)} texts at a time"
            gate = Gate(create_app(service), key, config.serve.max_body_kib * 1024, service.metrics, frozenset(PATHS))
            on_start = partial(console.print, started, soft_wrap=True)
            asyncio.run(run_server(gate, listener, on_start, service.pool.collect(), config.serve.drain_s))


def _api_key(config: Config) -> str:
    """Return the API key of the environment; empty: none. Raises `ConfigError` if the address needs one."""
    key = os.environ.get(KEY_VARIABLE, "")
    if not key and config.serve.host not in LOCAL:
        raise ConfigError(
            f"serve.host={config.serve.host}: other machines may reach this address; set an API key in the environment "
            f"variable {KEY_VARIABLE}, or serve {LOCAL[0]}"
        )
    return key
