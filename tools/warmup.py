"""Builds the base model of the default run once after installation, for `make setup`."""

from __future__ import annotations

from launch.entry import main
from launch.help import Program
from tandem.config.schema import Config
from tandem.models.zoo.base_models import base_model

ABOUT = Program("tools/warmup.py", "Build or convert the base model.", ("model.path", "cache_dir"), ("model=smollm2",))


def warm_up(config: Config) -> None:
    """Build or convert the configured base model if the cache does not hold it."""
    print(f"base model ready: {base_model(config.model, config.cache_path)}")


if __name__ == "__main__":
    main(ABOUT, warm_up)
