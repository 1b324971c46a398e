"""A run of launch/train.py from its checked configuration to its last line on the terminal."""

from __future__ import annotations

from launch.cluster.local_cluster import given_cluster, ray_cluster
from launch.run.export import export_senior
from launch.run.inputs import read_inputs
from launch.run.learner_only import learner_only
from launch.run.loop import train
from launch.run.plan_only import plan_only
from launch.run.rollouts_only import rollouts_only
from launch.run.selection import describe_best
from launch.run.startup import EngineStarter, start_engines, start_training_run
from launch.run.summary import summary
from launch.status import INPUTS, status
from tandem.config.schema import Config
from tandem.records.run_record import SAMPLES


def run(config: Config, start_engines: EngineStarter = start_engines) -> None:
    """Train as `config` says, or run only the part that it asks for. Training takes the engines of `start_engines`."""
    if config.plan_only:
        plan_only(config)
    elif config.rollouts_only:
        rollouts_only(config)
    elif config.learner_only:
        learner_only(config)
    else:
        train_and_export(config, start_engines)


def train_and_export(config: Config, start_engines: EngineStarter = start_engines, *, elsewhere: bool = True) -> None:
    """Train the senior, export it, and print where the results are.

    The engines are those of `start_engines`. `elsewhere`: whether the senior may be exported to another folder (see
    `export_senior`).
    """
    with given_cluster():
        with status("Reading models and data", INPUTS):
            inputs = read_inputs(config)
        with (
            inputs.folder as folder,
            ray_cluster(logs=folder.logs),
            start_training_run(inputs, start_engines) as training_run,
        ):
            learner, print_line = training_run.learner, training_run.console.print
            train(training_run)
            senior = export_senior(learner, config, folder, print_line, elsewhere=elsewhere) if config.log.export else None
            best = describe_best(folder, config.eval.select)
    print_line(f"metrics {folder.metrics}, samples {folder.path / SAMPLES}")
    if senior:
        print_line(f"senior {senior}")
    if best:
        print_line(best)
    for line in summary(config, folder.path, folder.rows, folder.total_s):
        print_line(line)
