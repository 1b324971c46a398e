"""When the pen changes hands: the rule, the pen, and the schedules by name.

A schedule is a pure function of (seed, tokens). The engine that writes and the rollout actor that moves the pen evaluate the
same rule, `Pen.after`, and must agree on every token. `tandem.replay` evaluates it for a finished rollout.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar, cast

import numpy as np

from tandem.config.black_box import OPENAI
from tandem.config.rollout import ScheduleConfig
from tandem.rollout import JUNIOR, SENIOR
from tandem.tokenization.surfaces import NEWLINE, SPACE, surfaces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tandem.config.schema import Config

COIN_SIDES = 1 << 32
"""A coin is a 32-bit integer."""
BEGINS_WORD, ENDS_STEP, ENDS_LINE, BEGINS_LINE = 1, 2, 4, 8
"""The entries of a boundary table: the sum of those that apply to a token. `BEGINS_WORD` and `ENDS_STEP` each mark a boundary.
`ENDS_LINE` followed by `BEGINS_LINE` also does: a paragraph break over two tokens, each with one newline."""
COMPLETE, STEP = BEGINS_WORD | ENDS_STEP, ENDS_STEP | ENDS_LINE | BEGINS_LINE
ENTRIES = (BEGINS_WORD, ENDS_STEP, ENDS_LINE, BEGINS_LINE)
WHOLE_TEXT = 1 << 31
"""A gap longer than any text: no redraw except at boundaries."""


Integers = TypeVar("Integers", int, np.ndarray)


def _mix(x: Integers) -> Integers:
    """Return a bijection of 32-bit integers that looks random (an xorshift-multiply hash). `x` may be an array, uint32 [N]."""
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x735A2D97) & 0xFFFFFFFF
    return x ^ (x >> 15)


def coin(seed: int, position: int) -> int:
    """Return the 32-bit coin tossed after `position` tokens of the rollout of schedule seed `seed`."""
    return _mix(_mix(seed & 0xFFFFFFFF) ^ (position & 0xFFFFFFFF))


def coins(seed: int, positions: np.ndarray) -> np.ndarray:
    """Return the coins tossed after `positions` tokens, uint32 [N] both (see `coin`)."""
    return _mix(np.uint32(_mix(seed & 0xFFFFFFFF)) ^ positions)


def draw_junior(seed: int, weights: Sequence[float]) -> int:
    """Return which junior writes in the rollout of schedule seed `seed`: an index into `weights`, in their proportion.

    Its coin is that of position -1, which the schedule never tosses.
    """
    limits = list(accumulate(weights))
    return bisect_right(limits, coin(seed, -1) / COIN_SIDES * limits[-1])


def noise_seed(seed: int, author: int) -> int:
    """Return the seed of `author`'s sampling noise in a repeatable rollout of schedule seed `seed`.

    It is a coin of position -2 or -3, which the schedule never tosses.
    """
    return coin(seed, -2 - author)


class Schedule(NamedTuple):
    """The rule of one rollout: redraw the author after a boundary token, or after `max_gap_tokens` tokens without a redraw."""

    prob_senior: float = 0.5
    """the probability that a redraw gives the pen to the senior; 1: the senior writes everything"""
    max_gap_tokens: int = 32
    """at most this many tokens between two redraws (arXiv 2606.28166)"""
    alternates: bool = False
    """whether every redraw passes the pen, without a coin; the senior begins"""
    boundary: int = BEGINS_WORD
    """which entries of the boundary table count: `BEGINS_WORD`, `STEP`, or 0 for none"""

    @property
    def threshold(self) -> int:
        """Coins below it draw the senior."""
        return round(self.prob_senior * COIN_SIDES)

    @property
    def solo(self) -> bool:
        """Whether the senior writes every token, so that no junior is needed."""
        return not self.alternates and self.threshold >= COIN_SIDES

    def pen(self, seed: int) -> Pen:
        """Return the pen of the rollout of schedule seed `seed`, before the first token."""
        return Pen(self, seed, self.draw(seed, 0, JUNIOR))

    def draw(self, seed: int, position: int, author: int) -> int:
        """Return who writes after a redraw at `position`, where `author` wrote before."""
        if self.alternates:
            return 1 - author
        return SENIOR if coin(seed, position) < self.threshold else JUNIOR


class Pen(NamedTuple):
    """Who writes the next token of a rollout, and all that decides who writes the tokens after it."""

    schedule: Schedule
    seed: int
    author: int
    """writes the next token"""
    position: int = 0
    """tokens written so far"""
    gap: int = 0
    """tokens since the last redraw"""
    line_ended: bool = False
    """whether the last token ended with a newline, and no redraw followed"""

    def after(self, boundary: int, breaks: int | None = None) -> Pen:
        """Return the pen after `author` wrote a token whose entry in the boundary table is `boundary`.

        `breaks`: whether the author is redrawn, whatever boundary and gap say; None: they decide.
        """
        schedule, seed, author, position, gap, line_ended = self
        position, gap, entry = position + 1, gap + 1, boundary & schedule.boundary
        if breaks is None:
            at_boundary = entry and (entry & COMPLETE or (line_ended and entry & BEGINS_LINE))
            breaks = at_boundary or gap >= schedule.max_gap_tokens
        if breaks:
            return Pen(schedule, seed, schedule.draw(seed, position, author), position)
        if entry:
            return Pen(schedule, seed, author, position, gap, bool(entry & ENDS_LINE))
        return Pen(schedule, seed, author, position, gap)

    def over(self, boundaries: Iterable[int], breaks: Iterable[bool | None]) -> tuple[Pen, bytes]:
        """Return the pen after several tokens, and who had it for each of them: a byte for a token.

        `boundaries` and `breaks` are those of `after`, by token.
        """
        pen, authors = self, bytearray()
        for boundary, broken in zip(boundaries, breaks, strict=False):
            authors.append(pen.author)
            pen = pen.after(boundary, broken)
        return pen, bytes(authors)


# The schedules by name

SOLO = Schedule(prob_senior=1.0)
"""The senior writes everything."""
JUNIOR_ALONE = Schedule(prob_senior=0.0, max_gap_tokens=WHOLE_TEXT)
"""The junior writes everything; the senior only reads."""


class NamedSchedule(NamedTuple):
    """A schedule that `schedule.name` can choose."""

    boundary: Literal["none", "word", "step"]
    """where it redraws the author; the model says which tokens these are (`model.word_boundary`, `model.step_boundary`)"""
    rule: Callable[[ScheduleConfig, float], Schedule]
    """the rollouts' rule, given the settings and the senior's probability"""


SCHEDULES = {
    "word": NamedSchedule("word", lambda settings, prob: Schedule(prob, settings.max_gap_tokens)),
    "token": NamedSchedule("none", lambda _, prob: Schedule(prob, 1, boundary=0)),
    "step": NamedSchedule("step", lambda settings, prob: Schedule(prob, WHOLE_TEXT, settings.alternates, STEP)),
    "chunk": NamedSchedule("none", lambda settings, prob: Schedule(prob, settings.chunk_tokens, settings.alternates, 0)),
    "alternate": NamedSchedule("word", lambda settings, prob: Schedule(prob, settings.max_gap_tokens, alternates=True)),
    "solo": NamedSchedule("none", lambda _settings, _prob: SOLO),
}
"""`word`: redraw where a word begins, the published default. `token`: redraw after every token. `step`: redraw, or pass the
pen, at every paragraph break; passing it is the published test of handoff robustness. `chunk`: the same every `chunk_tokens`
tokens. `alternate`: pass the pen where a word begins. `solo`: the senior writes everything, plain GRPO."""


def unannealed_schedule(settings: ScheduleConfig) -> Schedule:
    """Return the schedule of `settings`, where it does not change over the steps of a run."""
    return SCHEDULES[settings.name].rule(settings, settings.prob_senior)


def schedule_at(config: Config, step: int) -> Schedule:
    """Return the schedule of training step `step` (from 1)."""
    settings = config.schedule
    return SCHEDULES[settings.name].rule(settings, annealed_prob_senior(settings, step, config.steps))


def annealed_prob_senior(settings: ScheduleConfig, step: int, steps: int) -> float:
    """Return the senior's probability at step `step` (from 1) of `steps`.

    It goes from `prob_senior` at the first step to `prob_senior_end` at the last, along `anneal`.
    """
    elapsed = (step - 1) / max(steps - 1, 1)
    progress = {"constant": 0.0, "linear": elapsed, "cosine": (1 - math.cos(math.pi * elapsed)) / 2}[settings.anneal]
    return settings.prob_senior + progress * (settings.prob_senior_end - settings.prob_senior)


def solo_config(config: Config) -> Config:
    """Return `config` with the schedule `solo`, for engines that write under the schedules of `eval.handoff` at most."""
    return replace(config, schedule=ScheduleConfig(name="solo"))


def needs_junior(config: Config) -> bool:
    """Whether the schedule of any step, or any measure, gives the pen to a junior that has engines."""
    if any(name.startswith(OPENAI) for name in config.junior):
        return False
    measured = {"handoff", "junior_alone", "takeover", "legibility"} & set(config.eval.measures)
    return bool(measured) or not (schedule_at(config, 1).solo and schedule_at(config, config.steps).solo)


def all_schedules(config: Config) -> dict[str, ScheduleConfig]:
    """Return the schedules that rollouts may follow, in training and evaluation, by the keys that configure them."""
    measured = config.eval.handoff if "handoff" in config.eval.measures else []
    return {"schedule": config.schedule} | {f"eval.handoff[{index}]": schedule for index, schedule in enumerate(measured)}


# Boundaries

BoundaryRule = Literal["none", "word", "word_or_newline", "paragraph", "newline"]
STEP_ENDS = {"paragraph": "\n\n", "newline": "\n"}
"""The text that ends a step, by boundary rule."""


def boundary_rule(config: Config, settings: ScheduleConfig) -> BoundaryRule:
    """Return which tokens of the model's vocabulary are boundaries of the schedule of `settings`."""
    rules = {"none": "none", "word": config.model.word_boundary, "step": config.model.step_boundary}
    return cast(BoundaryRule, rules[SCHEDULES[settings.name].boundary])


def boundary_table(tokenizer: PreTrainedTokenizerBase, rule: BoundaryRule, size: int) -> np.ndarray:
    """Return a mask of the token ids below `size` that are boundaries under `rule`, uint8 [size].

    `word`: the token begins with a space (53,021 ids of Qwen3's tokenizer). `newline` and `paragraph`: the token contains one
    or two newlines. Ids beyond the tokenizer's are never boundaries. Raises `ValueError` when no token is a boundary.
    """
    table = np.zeros(size, dtype=np.uint8)
    if rule == "none":
        return table
    for i, surface in surfaces(tokenizer, size):
        word = surface.startswith(SPACE)
        newline, paragraph = NEWLINE in surface, NEWLINE + NEWLINE in surface
        table[i] = {
            "word": word,
            "word_or_newline": word or newline,
            "newline": newline,
            "paragraph": paragraph,
        }[rule]
    if not table.any():
        raise ValueError(
            f"no token of {tokenizer.name_or_path!r} is a {rule!r} boundary: its vocabulary is "
            "neither byte-level BPE nor SentencePiece"
        )
    return table


def line_table(tokenizer: PreTrainedTokenizerBase, size: int) -> np.ndarray:
    """Return which of `size` token ids end or begin with a newline: uint8 [size], sums of `ENDS_LINE` and `BEGINS_LINE`."""
    table = np.zeros(size, dtype=np.uint8)
    for i, surface in surfaces(tokenizer, size):
        table[i] = ENDS_LINE * surface.endswith(NEWLINE) + BEGINS_LINE * surface.startswith(NEWLINE)
    return table
