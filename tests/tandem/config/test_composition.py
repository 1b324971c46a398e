"""Test the composition of conf/."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import reduce
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import DictConfig, OmegaConf

from launch.command_line import CONF
from tandem.config.load import load, typed
from tandem.config.schema import SETTINGS, ConfigError

Compose = Callable[..., DictConfig]
ELSEWHERE = ("experiment", "experiment_preset")
"""Files of whole runs and experiments, which other tests cover."""
GROUP_FILES = sorted(path.relative_to(CONF) for path in CONF.glob("*/*.yaml") if path.parent.name not in ELSEWHERE)


def test_defaults_are_offline_run(defaults: DictConfig) -> None:
    config = load(defaults)
    assert (config.model.source, config.model.recipe, config.junior) == ("zoo", "plain", ["self"])
    assert (config.schedule.name, config.schedule.prob_senior, config.schedule.max_gap_tokens) == ("word", 0.5, 32)
    assert (config.data.source, config.eval.problems) == ("arith", 400)
    assert (config.rollout.sampling.temperature, config.learner.zero_stage, config.algo.mini_batches) == (1.0, 1, 2)


def leaves(node: DictConfig) -> list[str]:
    """Return the dotted keys of plain values."""
    inner = {key: leaves(value) if isinstance(value, DictConfig) else [] for key, value in node.items()}
    return [f"{key!s}.{leaf}" if leaf else str(key) for key, found in inner.items() for leaf in found or [""]]


def agrees(value: Any, written: Any) -> bool:
    """Whether a setting has the value in a file, which may omit defaults."""
    if is_dataclass(value):
        return all(agrees(getattr(value, key), wanted) for key, wanted in written.items())
    if isinstance(value, list):
        return len(value) == len(written) and all(map(agrees, value, written))
    return bool(value == written)


@pytest.mark.seconds
@pytest.mark.parametrize("file", GROUP_FILES, ids=str)
def test_every_file_of_every_group_composes(composed: Compose, file: Path) -> None:
    composed_config = composed(f"{file.parent}={file.stem}")
    config = load(composed_config)
    written = cast(DictConfig, OmegaConf.load(CONF / file))
    whole_run = "# @package _global_" in (CONF / file).read_text()
    for override in written.pop("defaults", []):
        if override != "_self_":
            ((group, name),) = override.items()
            assert attrgetter(group.removeprefix("override /"))(config).name == name
    for key in leaves(written):
        path = key if whole_run else f"{file.parent}.{key}"
        found = reduce(
            lambda inside, name: inside[name] if isinstance(inside, dict) else getattr(inside, name), path.split("."), config
        )
        assert agrees(found, OmegaConf.select(written, key))


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (("model=hf", "model.path=/models/base"), "model.path", "/models/base"),
        (("data=jsonl", "data.path=/data/train.jsonl"), "data.path", "/data/train.jsonl"),
        (("model=smollm2", "rollout.group_size=6"), "rollout.group_size", 6),
        (("schedule=solo",), "schedule.name", "solo"),
        (("rollout.replicas=2", "learner.ranks=2"), "learner.ranks", 2),
        (("learner.betas=[0.8,0.99]",), "learner.betas", [0.8, 0.99]),
        (("junior=[self,/models/small]",), "junior", ["self", "/models/small"]),
        (("junior=[self,org/small]", "junior_weights=[2,1]"), "junior_weights", [2.0, 1.0]),
    ],
)
def test_command_line_overrides_files(composed: Compose, overrides: tuple[str, ...], key: str, value: object) -> None:
    found = attrgetter(key)(load(composed(*overrides)))
    assert (list(found) if isinstance(value, list) else found) == value


def test_environment_variable_moves_cache(composed: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_CACHE", "/elsewhere")
    assert load(composed()).cache_path == Path("/elsewhere")
    monkeypatch.delenv("TANDEM_CACHE")
    assert load(composed()).cache_path == Path.home() / ".cache" / "tandem"


@pytest.mark.parametrize("key", [key for key, each in SETTINGS.items() if each.path])
def test_tilde_in_any_path_is_home_directory(composed: Compose, key: str) -> None:
    needed = {"data.": ["data=jsonl"], "model.path": ["model=hf"], "log.": ["log.export=true"]}
    others = next((overrides for start, overrides in needed.items() if key.startswith(start)), [])
    value = f"{key}=['~/x']" if key == "junior" else f"{key}='~/x'"
    found = attrgetter(key)(typed(composed(*others, value)))
    assert found == ([f"{Path.home()}/x"] if key == "junior" else f"{Path.home()}/x")
    with pytest.raises(ConfigError, match=f"^{key}=~nobody-at-all/x: there is no such home directory; write the path in full"):
        typed(composed(*others, value.replace("~/x", "~nobody-at-all/x")))
