"""Turn the composition of Hydra into the typed configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from operator import attrgetter

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tandem.config.checks import config_errors
from tandem.config.schema import SETTINGS, Config, ConfigError
from tandem.runtime.disk import unreachable

PATHS = [key for key, setting in SETTINGS.items() if setting.path]
RETIRED = {
    "guard.publish_timeout_s": "it is guard.call_timeout_s, for it limits every call of all replicas",
    "guard.senior_fraction_tolerance": "the guard tests exactly how many draws the senior won; leave it out",
    "model.sentinel": "the engine's scheduler ends turns; leave it out",
    "rollout.turn_end": "the engine's scheduler ends turns; leave it out",
}
"""Keys that no longer exist, and what to do instead: refused on the command line, ignored in saved configurations."""


@cache
def schema() -> DictConfig:
    """Return the schema that Hydra composes onto: `Config` with dictionaries that accept new keys."""
    node = OmegaConf.structured(Config)
    for key in SETTINGS:
        if OmegaConf.is_dict(inner := OmegaConf.select(node, key, throw_on_missing=False)):
            OmegaConf.set_struct(inner, False)
    assert isinstance(node, DictConfig)
    return node


@cache
def _structure() -> DictConfig:
    """Return the types of all settings, which take a tenth of a second to read from the dataclasses."""
    node = OmegaConf.structured(Config)
    assert isinstance(node, DictConfig)
    return node


def load(composed: DictConfig) -> Config:
    """Return the typed and checked configuration for the composition of Hydra.

    Raises `ConfigError` naming every unknown key, ill-typed value and impossible combination.
    """
    config = typed(composed)
    if lines := [*_unreachable_paths(config), *config_errors(config)]:
        raise ConfigError("\n".join(lines))
    return config


def typed(composed: DictConfig) -> Config:
    """Return the typed configuration of a saved run, or of the composition of Hydra, without checks and without retired keys.

    Raises `ConfigError` naming an unknown key or an ill-typed value.
    """
    try:
        plain = OmegaConf.to_container(composed, resolve=True)
        for key in RETIRED:
            group, _, name = key.rpartition(".")
            if isinstance(plain, dict) and isinstance(holder := plain.get(group), dict):
                holder.pop(name, None)
        config = OmegaConf.to_object(OmegaConf.merge(_structure(), plain))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'configuration'}: {str(error).splitlines()[0]}") from error
    assert isinstance(config, Config)
    for key in PATHS:
        group, _, name = key.rpartition(".")
        holder = attrgetter(group)(config) if group else config
        value = getattr(holder, name)
        setattr(
            holder, name, [expand_home(key, each) for each in value] if isinstance(value, list) else expand_home(key, value)
        )
    return config


def _unreachable_paths(config: Config) -> Iterator[str]:
    """Yield a line for each path that the system cannot look up, such as one whose name is too long."""
    for key in PATHS:
        value = attrgetter(key)(config)
        for path in value if isinstance(value, list) else [value]:
            if path and (why := unreachable(path)):
                yield f"{key}={path:.200}: {why}; name another"


def expand_home(key: str, path: str) -> str:
    """Return the value `path` of `key` with the home directory in place of `~`: no shell expands it after `key=`.

    Raises `ConfigError` if there is no such home directory.
    """
    full = os.path.expanduser(path)
    if full.startswith("~"):
        raise ConfigError(f"{key}={path}: there is no such home directory; write the path in full")
    return full
