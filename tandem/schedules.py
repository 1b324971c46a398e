"""The schedules by name: what each makes of its configuration, and how much the senior writes as training goes on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Protocol, cast

from tandem.schedule import BoundaryRule, Schedule

if TYPE_CHECKING:
    from tandem.config import Config, ScheduleConfig

Boundary = Literal["none", "word", "step"]
"""Where a schedule redraws the author; which tokens these are is the model's business (`model.word_boundary`, ...)."""
WHOLE_TEXT = 1 << 31
"""More tokens than any text has: no redraw but at boundaries."""


class NamedSchedule(Protocol):
    """A schedule that `schedule.name` can choose."""

    @property
    def boundary(self) -> Boundary:
        """Where the author is redrawn."""
        ...

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        """The rule for rollouts of a training step, `prob_senior` being the step's."""
        ...


class Word:
    """Redraw where a word begins, the published default."""

    boundary: Boundary = "word"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior, config.max_gap_tokens)


class Token:
    """Redraw after every token."""

    boundary: Boundary = "none"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior, max_gap_tokens=1)


class Step:
    """Redraw, or pass the pen, at every paragraph break; with `alternates` the published test of handoff robustness."""

    boundary: Boundary = "step"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior, WHOLE_TEXT, config.alternates)


class Chunk:
    """Redraw, or pass the pen, every `chunk_tokens` tokens."""

    boundary: Boundary = "none"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior, config.chunk_tokens, config.alternates)


class Alternate:
    """Pass the pen where a word begins."""

    boundary: Boundary = "word"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior, config.max_gap_tokens, alternates=True)


class Solo:
    """The senior writes everything: vanilla GRPO."""

    boundary: Boundary = "none"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior=1.0)


SCHEDULES: dict[str, NamedSchedule] = {
    "word": Word(),
    "token": Token(),
    "step": Step(),
    "chunk": Chunk(),
    "alternate": Alternate(),
    "solo": Solo(),
}


def prob_senior(config: ScheduleConfig, step: int, steps: int) -> float:
    """The chance of the senior at training step `step` (from 1) of `steps`: from `prob_senior` at the first to
    `prob_senior_end` at the last, along `anneal`."""
    done = (step - 1) / max(steps - 1, 1)
    progress = {"constant": 0.0, "linear": done, "cosine": (1 - math.cos(math.pi * done)) / 2}[config.anneal]
    return config.prob_senior + progress * (config.prob_senior_end - config.prob_senior)


def schedule_at(config: Config, step: int) -> Schedule:
    """The schedule of training step `step` (from 1)."""
    return SCHEDULES[config.schedule.name](config.schedule, prob_senior(config.schedule, step, config.steps))


def needs_junior(config: Config) -> bool:
    """Whether any step's schedule gives the pen to a junior."""
    return not (schedule_at(config, 1).solo and schedule_at(config, config.steps).solo)


def boundary_rule(config: Config) -> BoundaryRule:
    """Which tokens of the model's vocabulary are boundaries."""
    rules = {"none": "none", "word": config.model.word_boundary, "step": config.model.step_boundary}
    return cast(BoundaryRule, rules[SCHEDULES[config.schedule.name].boundary])
