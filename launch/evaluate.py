"""Measure a senior: `python launch/evaluate.py senior=runs/NAME eval=full [key=value ...]`.

docs/evaluation.md describes the measures.
"""

from __future__ import annotations

from launch.entry import main
from launch.evaluation.measured_run import settings_of_run
from launch.help import Program
from launch.status import importing
from tandem.config.schema import Config

ABOUT = Program(
    file="launch/evaluate.py",
    about="Measure a senior on held-out problems: alone, together with a junior, and against its base model.",
    common=(
        *("senior", "name", "eval.measures", "eval.problems", "eval.samples", "eval.pass_at", "eval.sets", "eval.handoff"),
        *("eval.greedy", "eval.sampling.temperature", "eval.sampling.max_tokens", "junior"),
    ),
    examples=(
        "senior=runs/first",
        "senior=runs/first eval=full",
        "senior=runs/first 'eval.measures=[solo,handoff]' eval.samples=8 'eval.pass_at=[1,8]'",
        "model=hf model.path=PATH_OR_ID 'eval.sets=[math500,aime24]'",
    ),
)


def run(config: Config) -> None:
    """Take the measures that `config` names."""
    with importing():
        from launch.evaluation.evaluate import evaluate

    evaluate(config)


if __name__ == "__main__":
    main(ABOUT, run, settings_of_run)
