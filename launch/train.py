"""Train a senior with tandem GRPO: `python launch/train.py [--multirun] [key=value ...]`.

The training loop is launch/run/loop.py; docs/configuration.md lists the keys.
"""

from __future__ import annotations

from launch.cluster.local_cluster import given_cluster, ray_cluster
from launch.entry import main
from launch.experiments.sweep import sweep
from launch.run.export import export_senior
from launch.run.inputs import read_inputs
from launch.run.learner_only import learner_only
from launch.run.loop import train
from launch.run.plan_only import plan_only
from launch.run.rollouts_only import rollouts_only
from launch.run.selection import describe_best
from launch.run.startup import start_training_run
from tandem.config.schema import Config


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
        inputs = read_inputs(config)
        with inputs.folder as folder, ray_cluster(logs=folder.path / "logs"), start_training_run(inputs) as training_run:
            print_line = training_run.rollout_run.console.print
            train(training_run)
            senior = export_senior(training_run.learner, config, folder, print_line) if config.log.export else None
            best = describe_best(folder, config.eval.select)
    accuracies = [row["solo/accuracy"] for row in folder.rows if "solo/accuracy" in row]
    change = " before, ".join(f"{accuracy:.3f}" for accuracy in (accuracies[0], accuracies[-1]))
    print_line(f"solo accuracy on {len(inputs.held_out)} held-out problems: {change} after")
    if best:
        print_line(best)
    print_line(f"metrics {folder.path / 'metrics.jsonl'}, samples {folder.path / 'samples.jsonl'}")
    print_line(f"report: python launch/report.py {folder.path}" + (f"; senior: {senior}" if senior else ""))


if __name__ == "__main__":
    main(run, sweep=sweep)
