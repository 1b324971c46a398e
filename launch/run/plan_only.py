"""Print the plan of a run instead of running it: check what the settings name where that is cheap; start and build nothing."""

from __future__ import annotations

from pathlib import Path

from actors.engine_args import check_engine_args
from launch.cluster.plan import assumed_plan, print_plan, run_plan
from launch.evaluation.training_measures import check_measures
from launch.run.given_groups import find_saved_steps
from launch.storage.resume import find_resumption
from launch.storage.run_folder import RunFolder
from launch.terminal import terminal_console
from tandem.config.schema import SELF, Config
from tandem.data.pass_rates import read_pass_rates
from tandem.data.problems import check_first_rows
from tandem.models.inspection import inspect_local_models
from tandem.models.zoo.hub import configuration_directory, is_hub_id
from tandem.models.zoo.recipes import ZOO


def plan_only(config: Config) -> None:
    """Check what the settings name and print the plan. Raises `ConfigError` for what a run could not use."""
    check_named(config)
    show_plan(config)


def show_plan(config: Config) -> None:
    """Print the plan for the assumed GPUs, or for this machine if none are assumed. Raises `ConfigError`."""
    plan = assumed_plan(config) if config.cluster.gpus else run_plan(config)
    plan.transport(config)  # refuses one that is not possible
    print_plan(plan, terminal_console())


def check_named(config: Config) -> None:
    """Check that the models, files and folders that the settings name exist, and the first rows of the data.

    Models in a directory are inspected. Of a model on the hub only config.json is fetched, and nothing if `model.shape` is
    given. Raises `ConfigError`.
    """
    if not config.learner_only:
        check_measures(config)
        check_engine_args(config.rollout)
        RunFolder(config, find_resumption(config))
    elif not config.has_random_rollouts:
        find_saved_steps(config)
    named = {"model.path": config.model.path} if config.model.source == "hf" else {}
    if config.model.shape and is_hub_id(config.model.path):
        named = {}
    named |= {f"junior[{index}]": name for index, name in enumerate(config.junior) if name != SELF and not name.startswith(ZOO)}
    for key, name in named.items():
        configuration_directory(name, key)
    inspect_local_models(config)
    check_first_rows(config.data)
    if config.data.pass_rates:
        read_pass_rates(Path(config.data.pass_rates))
