"""Train a senior with tandem GRPO: `python launch/train.py [--multirun] [key=value ...]`.

The training loop is launch/run/loop.py; docs/configuration.md lists the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from hydra import initialize_config_dir

from launch.command_line import CONF
from launch.entry import main
from launch.experiments.sweep_runs import plan_runs
from launch.help import CFG, Program
from launch.status import importing
from tandem.config.schema import Config

ABOUT = Program(
    file="launch/train.py",
    about="Train a senior that writes every rollout together with a frozen junior and learns from its own tokens.",
    common=(
        *("name", "steps", "seed", "resume", "plan_only", "junior", "model.path", "data.path"),
        *("rollout.prompts_per_step", "rollout.group_size", "rollout.sampling.max_tokens", "rollout.replicas"),
        *("learner.lr", "learner.ranks", "eval.every", "checkpoint.save_every", "log.dir"),
    ),
    examples=(
        "name=first steps=20",
        "name=first steps=40 resume=auto",
        "algo=grpo",
        "model=hf model.path=PATH_OR_ID data=jsonl data.path=FILE",
        "--multirun algo=tandem,grpo seed=1,2,3",
        "--config mine.yaml learner.lr=1e-4",
    ),
    options=(
        CFG,
        ("--multirun", "train every combination of the values that commas separate: see docs/sweeps.md"),
    ),
)

# The imports of torch and Ray follow the checks of the configuration, because they take seconds.


def run(config: Config) -> None:
    """Train as `config` says, or run only the part that it asks for."""
    with nullcontext() if config.plan_only else importing():
        from launch.run.program import run

    run(config)


def sweep(overrides: Sequence[str]) -> None:
    """Run every combination of settings that `overrides` name."""
    with initialize_config_dir(str(CONF), version_base=None, job_name="train"):
        runs = plan_runs(overrides)
        with importing():
            from launch.experiments.sweep import run_sweep

        run_sweep(runs, overrides)


if __name__ == "__main__":
    main(ABOUT, run, sweep=sweep)
