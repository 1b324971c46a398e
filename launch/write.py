"""Write texts together with a senior or its junior: `python launch/write.py senior=runs/NAME [key=value ...]`.

docs/serving.md describes the page.
"""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from launch.entry import main
from launch.evaluation.measured_run import settings_of_run
from launch.help import Program
from launch.status import importing
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config

ABOUT = Program(
    file="launch/write.py",
    about="Open a page on which a person and a model solve problems together; by default the pen passes after every step.",
    common=(
        *("senior", "role", "schedule.name", "schedule.alternates", "serve.port"),
        *("rollout.sampling.max_tokens", "rollout.sampling.temperature", "eval.problems"),
    ),
    examples=(
        "senior=runs/first",
        "senior=runs/first role=senior",
        "senior=runs/first schedule=chunk schedule.chunk_tokens=16",
    ),
)


def settings(composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return the settings of `settings_of_run`; the pen passes after each step unless `overrides` name a schedule."""
    run_settings = settings_of_run(composed, overrides)
    if not any(override.startswith("schedule") for override in overrides):
        OmegaConf.update(run_settings, "schedule", ScheduleConfig(name="step", alternates=True), merge=False)
    return run_settings


def run(config: Config) -> None:
    """Open the page for the models that `config` names."""
    with importing():
        from launch.writing.program import write

    write(config)


if __name__ == "__main__":
    main(ABOUT, run, settings)
