"""The problems of an evaluation: those held out of a dataset, or several benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from launch.command_line import CONF
from launch.config_file import read_yaml
from tandem.authors import Authors
from tandem.config.data import FILES, DataConfig
from tandem.config.schema import Config, ConfigError
from tandem.data.problems import load_with_held_out
from tandem.measures.problem_sets import ProblemSets
from tandem.rollout import Prompt

SOURCE = ("source", "path", "subset", "split", "question_field", "answer_field", "answer_pattern", "on_bad_line")
"""The settings of `data` that a benchmark replaces. The prompts' form and the verifier stay."""


@dataclass(frozen=True)
class Benchmarks:
    """The prompts of an evaluation, in the order of their sets."""

    prompts: list[Prompt]
    sets: ProblemSets
    """those of `eval.sets`; without names if the prompts are those of `data`"""
    left_out: str
    """the part of the data that is not used, in words"""


def read_benchmarks(config: Config, authors: Authors) -> Benchmarks:
    """Return the problems to evaluate. Raises `ConfigError` for a set that cannot be read or has another size."""
    sources = dict(_sets(config)) or {"": config.data}
    prompts: list[Prompt] = []
    sizes, left_out = [], []
    for name, data in sources.items():
        problems, encoded = load_with_held_out(config, authors, data)
        prompts += encoded
        sizes.append(len(encoded))
        left_out.append(f"{name}: {problems.left_out}" if name else problems.left_out)
    sets = ProblemSets(tuple(sources) if config.eval.sets else (), np.repeat(np.arange(len(sizes)), sizes))
    return Benchmarks(prompts, sets, "; ".join(left_out))


def _sets(config: Config) -> Iterator[tuple[str, DataConfig]]:
    """Yield the name and the data of each of `eval.sets`."""
    for entry in config.eval.sets:
        name, _, path = entry.partition(":")
        file = CONF / "data" / f"{name}.yaml"
        settings = _benchmark(file)
        if not settings:
            known = ", ".join(sorted(each.stem for each in file.parent.glob("*.yaml") if _benchmark(each)))
            raise ConfigError(f"eval.sets={config.eval.sets}: {name} is no benchmark in conf/data/; choose among {known}")
        if path:
            settings["path"] = str(Path(path).expanduser())
            kind = Path(path).suffix.removeprefix(".")
            settings["source"] = kind if kind in FILES else "hub"
        source = {key: settings.get(key, getattr(DataConfig(), key)) for key in SOURCE}
        rows = settings.get("expected_rows", 0)
        yield name, replace(config.data, **source, expected_rows=rows, evaluation_only=True, held_out_path="")


def _benchmark(file: Path) -> dict[str, Any]:
    """Return the settings in a file of conf/data/, if its data are for evaluation only; else an empty mapping."""
    settings: Any = OmegaConf.to_container(read_yaml(file, str(file))) if file.is_file() else {}
    return settings if isinstance(settings, dict) and settings.get("evaluation_only") else {}
