"""The checked inputs of a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from launch.cluster.plan import run_plan
from launch.evaluation.evaluate import measured_authors
from launch.serving.schedules import with_schedules
from tandem.authors import Authors, check_draft, check_excluded, run_boundaries
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config
from tandem.plan.run_plan import RunPlan, planned
from tandem.schedule import solo_config


def read_serving_inputs(config: Config, plan_engines: Callable[..., RunPlan] = run_plan) -> tuple[Config, Authors, RunPlan]:
    """Return the settings of the server, the authors, and the plan of its engines. Raises `ConfigError`."""
    if config.schedule.name == "solo" and config.junior_translation:
        config = replace(config, schedule=ScheduleConfig())
    unscheduled = config if config.junior_translation else solo_config(config)
    solo = replace(unscheduled, eval=replace(config.eval, measures=["solo"]))
    authors = measured_authors(solo)
    if config.speculative:
        check_draft(config, authors)
    config = solo if config.speculative else with_schedules(config, authors)
    plan = plan_engines(config, learns=False)
    config = planned(config, plan)
    if plan.on_gpus:
        check_excluded(config, authors)
    boundaries = run_boundaries(config, authors.tokenizer, authors.vocabulary)
    return config, replace(authors, boundaries=boundaries), plan
