"""The canary: log-probabilities of a few fixed texts, in which engines and learner must agree after every weight sync."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from actors.rollout_pool import RolloutPool
from learner.resilient_learner import ResilientLearner
from tandem import guards
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.data.problems import ProblemSet
from tandem.data.prompts import encode

TEXTS, TOKENS = 4, 64
"""The number of texts, and the most tokens of one."""


@dataclass
class Canary:
    """Compares the senior's engines in `pool` with the `learner`, by the beginnings of the first prompts of `problems`."""

    config: Config
    authors: Authors
    problems: ProblemSet
    pool: RolloutPool
    learner: ResilientLearner

    def __post_init__(self) -> None:
        self._logprobs = np.zeros(0)
        """the learner's, as last read"""
        self._change = 0.0
        """their mean change at the last reading"""
        self._gap: float | None = None
        """at the last check; None before the first"""

    @cached_property
    def _texts(self) -> list[list[int]]:
        first = self.problems.train.batch(0, self.config.rollout.prompts_per_step)[:TEXTS]
        prompts, _ = encode(first, self.authors.tokenizer, self.config.data)
        return [list(prompt.token_ids[:TOKENS]) for prompt in prompts if len(prompt.token_ids) > 1]

    @property
    def _active(self) -> bool:
        return bool(self.config.guard.max_canary_gap and self._texts)

    def start(self) -> None:
        """Check the weights of the start, with which later ones are compared. Raises as `check`."""
        if self._active:
            with self.pool.sleeping():
                self.read_learner()
            self.check()

    def read_learner(self) -> None:
        """Compute the log-probabilities that the engines must have next; engines that share the learner's GPU must sleep."""
        if self._active:
            before, self._logprobs = self._logprobs, np.array(self.learner.text_logprobs(self._texts))
            self._change = float(np.abs(self._logprobs - before).mean()) if before.size else 0.0

    def check(self) -> dict[str, float]:
        """Return the gap as a metric; nothing while all engines restart.

        Raises `GuardError` when an engine computes with other weights than the learner at the last `read_learner`.
        """
        if not (self._active and (engines := self.pool.text_logprobs(self._texts))):
            return {}
        before, self._gap = self._gap, max(float(np.abs(np.array(engine) - self._logprobs).mean()) for engine in engines)
        guards.check_canary(self._gap, self.config.guard.max_canary_gap, before, self._change)
        return {"weights/canary_gap": self._gap}
