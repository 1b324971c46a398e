"""Builds the base model of the default run once after installation, for `make setup`."""

from __future__ import annotations

from launch.entry import main
from tandem.config.schema import Config
from tandem.models.zoo import base_model


def warm_up(config: Config) -> None:
    """Build or convert the configured base model if the cache does not hold it."""
    print(f"base model ready: {base_model(config.model, config.cache_path)}")


if __name__ == "__main__":
    main(warm_up)
