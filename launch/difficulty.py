"""Measure how often the base solves each training problem alone.

python launch/difficulty.py data.pass_rates=FILE [key=value ...]
"""

from __future__ import annotations

from launch.entry import main
from launch.help import Program
from launch.status import importing
from tandem.config.schema import Config

ABOUT = Program(
    file="launch/difficulty.py",
    about="Measure how often the base model solves each training problem alone, for data.min_pass_rate and data.max_pass_rate.",
    common=("data.pass_rates", "data.difficulty_rollouts", "data.path", "model.path", "rollout.sampling.max_tokens"),
    examples=("data=jsonl data.path=FILE data.pass_rates=rates.jsonl",),
)


def run(config: Config) -> None:
    """Measure the pass rates that `config` asks for."""
    with importing():
        from launch.evaluation.difficulty import measure_pass_rates

    measure_pass_rates(config)


if __name__ == "__main__":
    main(ABOUT, run)
