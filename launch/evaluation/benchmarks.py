"""The problems of an evaluation: those held out of a dataset, or several benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from tandem.measures.result_rows import Labels
from tandem.measures.score import Score
from tandem.rollout import Prompt

SOURCE = ("source", "path", "subset", "split", "question_field", "answer_field", "answer_pattern", "on_bad_line")
"""The settings of `data` that a benchmark replaces. The prompts' form and the verifier stay."""


@dataclass(frozen=True)
class Benchmarks:
    """The prompts of an evaluation, in the order of their sets."""

    prompts: list[Prompt]
    names: tuple[str, ...]
    """the sets; empty: the prompts are those of `data`"""
    sets: np.ndarray
    """int64 [P], the index of each prompt's set"""
    left_out: str
    """the part of the data that is not used, in words"""

    @property
    def labels(self) -> Labels:
        """Return the name of each prompt's set, if there are sets."""
        return [self.names[index] for index in self.sets] if self.names else None

    def averaged(self, scores: Mapping[str, Score]) -> dict[str, Score]:
        """Return each score as the macro-average over the sets; without sets, unchanged."""
        return {name: score.macro(self.sets) if self.names else score for name, score in scores.items()}

    def by_set(self, scores: Mapping[str, Score]) -> dict[str, dict[str, Score]]:
        """Return the scores of each set, by its name. Scores without weight in a set are left out."""
        parts = {name: self.sets == index for index, name in enumerate(self.names)}
        return {
            name: {key: score.of(chosen) for key, score in scores.items() if score.weights[chosen].any()}
            for name, chosen in parts.items()
        }


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
    sets = np.repeat(np.arange(len(sizes)), sizes)
    return Benchmarks(prompts, tuple(sources) if config.eval.sets else (), sets, "; ".join(left_out))


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
