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
from launch.run.startup import start_training_run
from launch.run.summary import summary
from launch.status import status
from tandem.config.schema import Config

INPUTS_S = "2 to 5 s if they are in the cache"
"""How long the models' files and the data usually take to be read and checked."""


def run(config: Config) -> None:
    """Train as `config` says, or run only the part that it asks for."""
    if config.plan_only:
        plan_only(config)
    elif config.rollouts_only:
        rollouts_only(config)
    elif config.learner_only:
        learner_only(config)
    else:
        train_and_export(config)


def train_and_export(config: Config) -> None:
    """Train the senior, export it, and print where the results are."""
    with given_cluster():
        with status("Reading models and data", INPUTS_S):
            inputs = read_inputs(config)
        with inputs.folder as folder, ray_cluster(logs=folder.path / "logs"), start_training_run(inputs) as training_run:
            print_line = training_run.rollout_run.console.print
            train(training_run)
            senior = export_senior(training_run.learner, config, folder, print_line) if config.log.export else None
            best = describe_best(folder, config.eval.select)
    print_line(f"metrics {folder.path / 'metrics.jsonl'}, samples {folder.path / 'samples.jsonl'}")
    if senior:
        print_line(f"senior {senior}")
    if best:
        print_line(best)
    for line in summary(config, folder.path, folder.rows, folder.total_s):
        print_line(line)
