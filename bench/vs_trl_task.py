"""The task of both trainers in `bench.vs_trl`: sums that SmolLM2 sometimes solves, and one reward function."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from tandem.rollout import Problem

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class TrainingTask:
    """A training by plain GRPO in float32, with one optimizer step for each batch of rollouts."""

    model: str
    """a Hugging Face directory"""
    steps: int
    prompts_per_step: int = 4
    group_size: int = 8
    max_tokens: int = 96
    temperature: float = 1.0
    lr: float = 1e-5
    clip: float = 0.2
    betas: tuple[float, float] = (0.9, 0.98)
    max_grad_norm: float = 1.0
    seed: int = 1

    @property
    def rollouts(self) -> int:
        """Return the rollouts of one step."""
        return self.prompts_per_step * self.group_size

    def batch(self, step: int) -> list[Problem]:
        """Return the problems of step `step` (from 0)."""
        rng = Random(f"{self.seed}/{step}")
        pairs = [(rng.randint(2, 30), rng.randint(2, 30)) for _ in range(self.prompts_per_step)]
        return [Problem(f"{step}/{i}", f"What is {a} + {b}?", str(a + b)) for i, (a, b) in enumerate(pairs)]


@dataclass(frozen=True)
class TimedStep:
    """Times and results of one step."""

    generate_s: float
    update_s: float
    """gradients, the optimizer and, in this project, the weight sync"""
    tokens: float
    """written in the step"""
    reward: float
    """the mean"""

    @property
    def seconds(self) -> float:
        """Return the time of the whole step."""
        return self.generate_s + self.update_s


def reward(text: str, answer: str) -> float:
    """Return 1 if the last number in `text` is `answer`, else 0."""
    numbers = _NUMBER.findall(text)
    return float(bool(numbers) and numbers[-1] == answer)
