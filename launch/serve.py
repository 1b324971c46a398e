"""Serve a senior, its junior and both together: `python launch/serve.py senior=runs/NAME [key=value ...]`.

docs/serving.md describes the API.
"""

from __future__ import annotations

from launch.entry import main
from launch.evaluation.measured_run import settings_of_run
from launch.help import Program
from launch.status import importing
from tandem.config.schema import Config

ABOUT = Program(
    file="launch/serve.py",
    about="Serve a senior, its junior and both together behind OpenAI's API.",
    common=(
        *("senior", "junior", "schedule.name", "schedule.prob_senior", "speculative"),
        *("serve.host", "serve.port", "serve.max_texts"),
        *("rollout.sampling.max_tokens", "data.max_prompt_tokens", "rollout.replicas"),
    ),
    examples=(
        "senior=runs/first",
        "senior=runs/first serve.port=9000 schedule=step",
        "model=hf model.path=PATH_OR_ID data.max_prompt_tokens=2048 rollout.sampling.max_tokens=1024",
    ),
)


def run(config: Config) -> None:
    """Serve the models that `config` names."""
    with importing():
        from launch.serving.server import serve

    serve(config)


if __name__ == "__main__":
    main(ABOUT, run, settings_of_run)
