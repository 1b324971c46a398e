"""The schedules by name: what each makes of its configuration, and how much the senior writes as training goes on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Protocol, cast

from tandem.schedule import BEGINS_WORD, ENDS_STEP, BoundaryRule, Schedule

if TYPE_CHECKING:
    from tandem.config.rollout import ScheduleConfig
    from tandem.config.schema import Config

Boundary = Literal["none", "word", "step"]
"""Where a schedule redraws the author; which tokens these are is the model's business (`model.word_boundary`, ...)."""
WHOLE_TEXT = 1 << 31
"""More tokens than any text has: no redraw but at boundaries."""
SOLO = Schedule(prob_senior=1.0)
"""The senior writes everything."""
JUNIOR_ALONE = Schedule(prob_senior=0.0, max_gap_tokens=WHOLE_TEXT)
"""The junior does, with a senior that only listens."""


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
        return Schedule(prob_senior, config.max_gap_tokens, boundary=BEGINS_WORD)


class Token:
    """Redraw after every token."""

    boundary: Boundary = "none"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior, max_gap_tokens=1, boundary=0)


class Step:
    """Redraw, or pass the pen, at every paragraph break; with `alternates` the published test of handoff robustness."""

    boundary: Boundary = "step"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior, WHOLE_TEXT, config.alternates, ENDS_STEP)


class Chunk:
    """Redraw, or pass the pen, every `chunk_tokens` tokens."""

    boundary: Boundary = "none"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior, config.chunk_tokens, config.alternates, boundary=0)


class Alternate:
    """Pass the pen where a word begins."""

    boundary: Boundary = "word"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return Schedule(prob_senior, config.max_gap_tokens, alternates=True, boundary=BEGINS_WORD)


class Solo:
    """The senior writes everything: vanilla GRPO."""

    boundary: Boundary = "none"

    def __call__(self, config: ScheduleConfig, prob_senior: float) -> Schedule:
        return SOLO


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


def named_schedule(config: ScheduleConfig) -> Schedule:
    """The schedule that `config` describes, where it does not change over the steps of a run."""
    return SCHEDULES[config.name](config, config.prob_senior)


def needs_junior(config: Config) -> bool:
    """Whether any step's schedule, or any measure, gives the pen to a junior."""
    measured = {"handoff", "takeover", "legibility"} & set(config.eval.measures)
    return bool(measured) or not (schedule_at(config, 1).solo and schedule_at(config, config.steps).solo)


def boundary_rule(config: Config, schedule: ScheduleConfig | None = None) -> BoundaryRule:
    """Which tokens of the model's vocabulary are boundaries of `schedule` (the one to train with, unless given)."""
    rules = {"none": "none", "word": config.model.word_boundary, "step": config.model.step_boundary}
    return cast(BoundaryRule, rules[SCHEDULES[(schedule or config.schedule).name].boundary])


def all_schedules(config: Config) -> dict[str, ScheduleConfig]:
    """The schedules that rollouts may follow, by the keys that configure them."""
    measured = config.eval.handoff if "handoff" in config.eval.measures else []
    return {"schedule": config.schedule} | {f"eval.handoff[{index}]": schedule for index, schedule in enumerate(measured)}
