"""The task that the pool gives to a replica: one group of rollouts."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.rollout import SamplingConfig
from tandem.rollout import Prompt
from tandem.schedule import Schedule


@dataclass(frozen=True)
class GroupTask:
    """A prompt and the rollouts to write for it; a rollout's seed determines its schedule and its junior."""

    prompt: Prompt
    rollout_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    schedule: Schedule
    sampling: SamplingConfig
    junior_weights: tuple[float, ...] = (1.0,)
    """the relative frequency of each junior"""
    repeatable: bool = False
    """whether a rollout's seed also determines its sampling noise"""
    streamed: bool = False
    """whether its tokens can be taken while they are written (`RolloutActor.written`)"""
