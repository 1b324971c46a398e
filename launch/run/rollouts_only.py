"""A run without a learner: its rollouts are written by the base model, judged, and saved whole."""

from __future__ import annotations

from collections.abc import Callable

from launch.cluster.local_cluster import given_cluster, ray_cluster
from launch.run.inputs import read_inputs
from launch.run.profiling import step_clock
from launch.run.training_run import BEGINNING, RolloutRun, staged, writing_started
from tandem.config.schema import Config
from tandem.metrics import PhaseTimer
from tandem.rollout import BASE_VERSION, Group

WritesStep = Callable[[RolloutRun, int, int, PhaseTimer], tuple[list[Group], dict[str, float]]]
"""What writes the groups of a step with weights of a version, and keeps them (`write_step` in launch/train.py)."""


def write_only(config: Config, write_step: WritesStep) -> None:
    """Has `write_step` write the rollouts of all steps. Raises what `read_inputs` raises."""
    with given_cluster():
        inputs = read_inputs(config)
        with (
            inputs.folder as folder,
            ray_cluster(logs=folder.path / "logs"),
            staged(inputs) as stage,
            writing_started(inputs, stage, BEGINNING) as parts,
            parts.writing,
        ):
            for step in range(1, config.steps + 1):
                with step_clock(config, step, folder.trace, parts.profiled, parts.console.print) as clock:
                    _, written = write_step(parts, step, BASE_VERSION, clock)
                    row = {"step": step, "weights/version": BASE_VERSION} | written | clock.metrics() | parts.resources()
                parts.log(row | {"rollout/tokens_per_s": row["rollout/tokens"] / clock.seconds["generate"]})
    stage.console.print(f"rollouts {folder.rollouts}; learn from them: python launch/train.py learner_only={folder.path}")
