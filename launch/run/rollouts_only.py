"""A run without a learner: the base model and its junior write rollouts, which are judged and saved whole."""

from __future__ import annotations

from launch.cluster.local_cluster import given_cluster, ray_cluster
from launch.run.inputs import read_inputs
from launch.run.loop import collect_groups
from launch.run.next_commands import learner_command
from launch.run.startup import reserve_resources, running_engines, start_rollout_run
from launch.status import INPUTS, status
from tandem.config.schema import Config
from tandem.rollout import BASE_VERSION


def rollouts_only(config: Config) -> None:
    """Write the rollouts of all steps. Raises `ConfigError` for a configuration that cannot be used."""
    with given_cluster():
        with status("Reading models and data", INPUTS):
            inputs = read_inputs(config)
        with (
            inputs.folder as folder,
            ray_cluster(logs=folder.logs),
            reserve_resources(inputs) as resources,
            running_engines(inputs, resources) as pool,
            start_rollout_run(inputs, resources, pool) as run,
            run.group_source,
        ):
            for step in range(1, config.steps + 1):
                with run.step_clock(step) as clock:
                    _, metrics = collect_groups(run, step, BASE_VERSION, clock)
                    row = run.step_row(step, BASE_VERSION, metrics, clock)
                run.log(row)
    command = learner_command(folder.path)
    resources.console.print(f"rollouts {folder.rollouts}" + (f"; learn from them: {command}" if command else ""))
