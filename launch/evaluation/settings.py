"""The settings of an evaluation, checked before anything slow is imported."""

from __future__ import annotations

from actors.engine_args import check_engine_args
from launch.entry import check_own_settings
from tandem.config.schema import Config, ConfigError
from tandem.schedule import solo_config


def check_evaluation(config: Config) -> Config:
    """Return the settings of an evaluation as its engines need them. Raises `ConfigError` for those that it does not take."""
    check_own_settings(config, "launch/evaluate.py")
    check_engine_args(config.rollout)
    if config.eval.measures != ["solo"] and len(config.junior) > 1:
        raise ConfigError(f"junior={config.junior}: a senior is measured with one junior at a time; name one")
    if config.junior_translation:
        return config
    return solo_config(config)  # the engines need only the schedules in eval.handoff
