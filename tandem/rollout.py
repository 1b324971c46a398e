"""The data of tandem training: problem, prompt, turn, rollout, group."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from tandem.verify.judgement import Judgement, Verdict

if TYPE_CHECKING:
    from tandem.replay import DrawCounts
    from tandem.schedule import Schedule

JUNIOR = 0
"""The junior's value in an authorship mask."""
SENIOR = 1
"""The senior's value in an authorship mask."""
AUTHOR_NAMES = ("junior", "senior")
"""The names of the authors, by these values."""
BASE_VERSION = 0
"""The version of the senior's weights before the first update."""
FROZEN_VERSION = -1
"""The weight version of a token written by the junior, whose weights never change."""


class EndReason(StrEnum):
    """Why a rollout ended."""

    EOS = "eos"
    """The author emitted an end-of-sequence token."""
    BUDGET = "budget"
    """The shared token budget was spent."""
    CONTEXT = "context"
    """The engine's context length was reached."""


class StopReason(StrEnum):
    """Why an author's engine stopped writing."""

    HANDOFF = "handoff"
    """The pen passed."""
    EOS = "eos"
    """The author emitted an end-of-sequence token."""
    LENGTH = "length"
    """The rest of the budget or of the context was spent."""


Message = tuple[str, str]
"""The role and the content of one message of a conversation."""


@dataclass(frozen=True)
class Problem:
    """A question with a verifiable answer, before any chat template.

    `id` is stable across runs and processes; train and held-out sets are split by a hash of it.
    """

    id: str
    question: str
    answer: str
    history: tuple[Message, ...] = ()
    """the messages before the question, where the dataset has whole conversations"""


@dataclass(frozen=True)
class Prompt:
    """A problem as the models read it: `token_ids` after the chat template."""

    problem: Problem
    token_ids: tuple[int, ...]
    junior_token_ids: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """the same in template and tokens of each junior with another tokenizer, by the junior's index"""
    opening: str = ""
    """the `<think>` at the end of the prompt, inside which the text then begins; empty: there is none"""


@dataclass(frozen=True)
class Turn:
    """A maximal run of tokens by one author: tokens `start` to `stop` (exclusive) of a rollout."""

    author: int
    start: int
    stop: int


@dataclass
class Rollout:
    """One finished text, and everything about its writing that the learner needs.

    All arrays have the length T of the completion (the prompt excluded, an end-of-sequence token included).
    """

    id: str
    prompt_ids: np.ndarray
    """int32 [P]"""
    token_ids: np.ndarray
    """int32 [T]"""
    authorship: np.ndarray
    """int8 [T], the authorship mask: 1 where the senior wrote the token, 0 where the junior did"""
    logprobs: np.ndarray
    """float32 [T], the author's own log-probability of the token it sampled (temperature included), in nats"""
    weight_versions: np.ndarray
    """int32 [T], the version of the senior's weights the token was sampled from; -1 for the junior's tokens"""
    end: EndReason
    seed: int
    """the schedule's seed: with the tokens (and `breaks`) it determines the authorship mask"""
    breaks: np.ndarray | None = None
    """bool [T], where the author is redrawn: where a junior with another tokenizer completed a word or a step (see
    `tandem.translation`), or a person decided (see `tandem.person`); None if the schedule alone decides"""
    text: str = ""
    junior: int = 0
    """which of the run's juniors wrote with the senior"""
    stop_reasons: dict[int, StopReason | None] = field(default_factory=dict)
    """why each author's engine last stopped, by author; None: the author never wrote"""
    draws: DrawCounts | None = None
    """how often the schedule drew the author, if the actor that wrote the rollout has replayed it and found its mask; then the
    driver replays only a sample"""

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def turns(self) -> list[Turn]:
        """Return the turns in order; between two of them lies a handoff."""
        if not len(self):
            return []
        changes = (np.flatnonzero(np.diff(self.authorship)) + 1).tolist()
        starts, stops = [0, *changes], [*changes, len(self)]
        return [Turn(int(self.authorship[a]), a, b) for a, b in zip(starts, stops, strict=True)]

    @property
    def handoffs(self) -> int:
        """Return how many times the pen changed hands."""
        return int(np.count_nonzero(np.diff(self.authorship)))

    @property
    def truncated(self) -> bool:
        """Whether the text was cut off instead of ended by an author."""
        return self.end is not EndReason.EOS


@dataclass
class Group:
    """The rollouts of one prompt, whose rewards are compared with each other (GRPO's group)."""

    prompt: Prompt
    rollouts: list[Rollout]
    schedule: Schedule
    """under which the rollouts were written"""
    judgements: list[Judgement] = field(default_factory=list)
    """one for each rollout, set by the judge"""
    rewards: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32 [G], set by `tandem.rewards`"""
    reward_terms: dict[str, np.ndarray] = field(default_factory=dict)
    """the terms of which the rewards are the sums, by name: float32 [G] each"""
    advantages: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32 [G], set by `tandem.advantage`"""

    @property
    def responses(self) -> list[str]:
        """Return the texts that the judge reads: each rollout's, after the `<think>` that the prompt opened."""
        return [self.prompt.opening + rollout.text for rollout in self.rollouts]

    @property
    def constant(self) -> bool:
        """Whether the rewards are all equal, so that every advantage is zero."""
        return is_constant(self.rewards)

    @property
    def verdicts(self) -> list[Verdict]:
        """Return the verdict on each rollout, once they are judged."""
        return [judgement.verdict for judgement in self.judgements]


def is_constant(rewards: np.ndarray) -> bool:
    """Whether the rewards [G] of a group are all equal."""
    return bool(np.ptp(rewards) == 0)
