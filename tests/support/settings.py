"""The configuration of a run whose folder is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from tandem.config.load import load
from tandem.config.schema import Config


def settings(folder: Path | str, **changes: Any) -> Config:
    """Return the configuration of a run named `run` in `folder`."""
    given = {
        "name": "run",
        "log": {"dir": str(folder), "tensorboard": False},
        "model": {"source": "zoo", "recipe": "plain"},
        "data": {"source": "arith"},
    }
    return load(cast(DictConfig, OmegaConf.merge(given, changes)))
