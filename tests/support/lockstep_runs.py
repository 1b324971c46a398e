"""Whole runs of the training loop with a real learner on lockstep engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from launch.run.inputs import read_inputs
from launch.run.loop import train
from launch.run.startup import EngineStarter, start_training_run
from tandem.config.load import load
from tandem.config.schema import Config
from tests.support.builders import save_model, small_tokenizer
from tests.support.lockstep import start_lockstep

LETTER = "e"
"""A letter that makes an answer of a random model correct."""


def small_run(folder: Path) -> Config:
    """Return the configuration of four steps of a tiny random model in `folder`, with a checkpoint every two steps."""
    model = save_model(folder / "model", small_tokenizer(), initializer_range=0.3)
    problems = [json.dumps({"question": f"What is {i} + 1?", "answer": LETTER}) for i in range(40)]
    (folder / "problems.jsonl").write_text("\n".join(problems))
    given = {
        "name": "whole",
        "steps": 4,
        "log": {"dir": str(folder), "tensorboard": False, "rollouts": True},
        "model": {"source": "hf", "path": str(model)},
        "data": {"source": "jsonl", "path": str(folder / "problems.jsonl")},
        "rollout": {"prompts_per_step": 4, "group_size": 4, "sampling": {"max_tokens": 8}},
        "eval": {"problems": 2, "every": 2, "select": "solo/accuracy", "sampling": {"max_tokens": 8}},
        "judge": {"answer_pattern": f"({LETTER})"},
        "learner": {"lr": 1e-2, "weight_decay": 0.1},
        "checkpoint": {"save_every": 2, "export": True},
    }
    return load(OmegaConf.create(given))


def run(config: Config, start_engines: EngineStarter = start_lockstep) -> Path:
    """Run `config` on lockstep engines; return the run folder."""
    inputs = read_inputs(config)
    with inputs.folder as folder, start_training_run(inputs, start_engines) as training_run:
        train(training_run)
    return folder.path


def rows(folder: Path) -> list[dict[str, float]]:
    """Return metrics.jsonl without times, rates, restarts and the machine's state."""
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    varies = ("time/", "host/", "run/", "rollout/tokens_per_s")
    return [{key: value for key, value in row.items() if not key.startswith(varies)} for row in logged]


def samples(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def weights(folder: Path, step: int) -> bytes:
    return (folder / "seniors" / f"step-{step:06d}" / "model.safetensors").read_bytes()
