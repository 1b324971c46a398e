"""When the pen changes hands.

A schedule is a pure function of (seed, tokens): the engine that writes, the actor that moves the pen and the test that replays
a finished rollout all evaluate the same rule and must agree on every token. The rule is written once, in integer arithmetic
that means the same for Python ints and for int64 tensors; `Pen` drives it a token at a time, in the actor and in the engine's
scheduler.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from tandem.rollout import JUNIOR, SENIOR

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COIN_SIDES = 1 << 32
"""A coin is a 32-bit integer."""
LEADING_SPACE = "Ġ"  # U+0120: how byte-level BPE spells the space in front of a word

BEGINS_WORD, ENDS_STEP = 1, 2
"""What a boundary table holds for a token: the sum of those that apply."""

BoundaryRule = Literal["none", "word", "word_or_newline", "paragraph", "newline"]


def _mix(x: Any) -> Any:
    """A bijection of 32-bit integers that looks random (an xorshift-multiply hash; both factors are below 2^31, so that the
    products fit an int64 tensor)."""
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x735A2D97) & 0xFFFFFFFF
    return x ^ (x >> 15)


def coin(seed: Any, position: Any) -> Any:
    """A 32-bit coin for `position` tokens written under `seed`; ints or int64 tensors of any one shape."""
    return _mix(_mix(seed & 0xFFFFFFFF) ^ (position & 0xFFFFFFFF))


@dataclass(frozen=True)
class Schedule:
    """One rollout's schedule: redraw the author after a boundary token, or when too many tokens passed without a redraw.

    `prob_senior` is the chance that a redraw gives the pen to the senior; 1 is the solo schedule. `max_gap_tokens` bounds the
    tokens between redraws (arXiv 2606.28166). A schedule that `alternates` tosses no coin: every redraw passes the pen, and the
    senior begins. `boundary` says which tokens are boundaries: `BEGINS_WORD`, `ENDS_STEP` or 0 for none.
    """

    prob_senior: float = 0.5
    max_gap_tokens: int = 32
    alternates: bool = False
    boundary: int = BEGINS_WORD

    @property
    def threshold(self) -> int:
        """Coins below it draw the senior."""
        return round(self.prob_senior * COIN_SIDES)

    @property
    def solo(self) -> bool:
        """Whether the senior writes every token, so that no junior is needed."""
        return not self.alternates and self.threshold >= COIN_SIDES


def redraw(
    author: Any, gap: Any, *, position: Any, boundary: Any, seed: Any, threshold: Any, max_gap: Any, alternates: Any = 0
) -> tuple[Any, Any]:
    """The handoff rule: who writes next, and how many tokens will then have passed since the last redraw.

    Ints, or int64 tensors of one shape. `author` wrote the token that was just emitted; `gap` counts the tokens since the last
    redraw up to, not including, that token; `position` counts all tokens of the rollout so far, including it; `boundary` is 1
    if it is one; `alternates` is 1 if a redraw passes the pen without a coin. Returns the next author and gap.
    """
    gap = gap + 1
    drawn = alternates * (1 - author) + (1 - alternates) * (coin(seed, position) < threshold)
    due = boundary | ((gap >= max_gap) * 1)
    return due * drawn + (1 - due) * author, (1 - due) * gap


class Pen:
    """Who holds the pen, token by token.

    `boundaries` is indexed by token id and says what each token begins or ends (`BEGINS_WORD`, `ENDS_STEP`). `author` holds the
    pen first; None: who the schedule says.
    """

    def __init__(
        self, schedule: Schedule, boundaries: Sequence[int] | np.ndarray, seed: int, author: int | None = None
    ) -> None:
        self.seed, self.threshold, self.max_gap = seed, schedule.threshold, schedule.max_gap_tokens
        self.alternates, self.boundary = int(schedule.alternates), schedule.boundary
        self._boundaries = boundaries
        self.position = 0
        """Tokens written so far."""
        self.gap = 0
        """Tokens since the last redraw."""
        if author is None:
            author = SENIOR if schedule.alternates or coin(seed, 0) < self.threshold else JUNIOR
        self.author: int = author
        """Who writes the next token."""

    def wrote(self, token: int, breaks: bool | None = None) -> int:
        """Notes that the present author emitted `token`; returns the author of the next one.

        `breaks` says whether the author is redrawn; None leaves it to boundaries and gaps.
        """
        self.position += 1
        if breaks is not None and not breaks:
            self.gap += 1
            return self.author
        self.author, self.gap = redraw(
            self.author,
            self.gap,
            position=self.position,
            boundary=int(bool(breaks or self._boundaries[token] & self.boundary)),
            seed=self.seed,
            threshold=self.threshold,
            max_gap=self.max_gap,
            alternates=self.alternates,
        )
        return self.author


class TurnStart(NamedTuple):
    """What an engine must know at the start of a turn to follow the schedule by itself: a `Pen` on its way to a process."""

    seed: int
    position: int
    gap: int
    threshold: int
    max_gap: int
    alternates: int
    boundary: int

    @classmethod
    def at(cls, pen: Pen) -> TurnStart:
        """The start of a turn at the pen's present state."""
        return cls(pen.seed, pen.position, pen.gap, pen.threshold, pen.max_gap, pen.alternates, pen.boundary)

    def pen(self, author: int, boundaries: Sequence[int] | np.ndarray) -> Pen:
        """The pen that this was taken of, in the hand of `author`."""
        schedule = Schedule(self.threshold / COIN_SIDES, self.max_gap, bool(self.alternates), self.boundary)
        pen = Pen(schedule, boundaries, self.seed, author)
        pen.position, pen.gap = self.position, self.gap
        return pen


def replay(
    schedule: Schedule,
    boundaries: Sequence[int] | np.ndarray,
    seed: int,
    tokens: Iterable[int],
    breaks: Iterable[bool] | None = None,
) -> np.ndarray:
    """The authorship mask (int8 [T]) that the schedule implies for a finished rollout's tokens.

    `breaks` is the rollout's, if its junior had another tokenizer: it holds where the junior writes.
    """
    return replay_draws(schedule, boundaries, seed, tokens, breaks)[0]


def replay_draws(
    schedule: Schedule,
    boundaries: Sequence[int] | np.ndarray,
    seed: int,
    tokens: Iterable[int],
    breaks: Iterable[bool] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of `replay`, and the tokens whose author was drawn for them: bool [T], the first and the one after each
    redraw.
    """
    pen = Pen(schedule, boundaries, seed)
    mask, drawn = [], []
    for token, broken in zip(tokens, repeat(None) if breaks is None else breaks, strict=False):
        mask.append(pen.author)
        drawn.append(pen.gap == 0)
        pen.wrote(int(token), broken if pen.author == JUNIOR else None)
    return np.array(mask, dtype=np.int8), np.array(drawn, dtype=bool)


def boundary_table(tokenizer: PreTrainedTokenizerBase, rule: BoundaryRule, size: int) -> np.ndarray:
    """Which of `size` token ids are boundaries under `rule`: uint8 [size], 1 for a boundary.

    `word`: the byte-level BPE surface starts with the leading-space marker (53,021 ids of Qwen3's tokenizer). `newline` and
    `paragraph`: the decoded token contains one or two newlines. Ids past the tokenizer's own are never boundaries.
    Raises `ValueError` when no token of the vocabulary is a boundary: such a schedule would never hand over.
    """
    table = np.zeros(size, dtype=np.uint8)
    if rule == "none":
        return table
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(min(size, len(tokenizer))) if i not in special]
    for i, surface in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
        # In byte-level BPE a newline is spelled Ċ (U+010A).
        word = surface.startswith(LEADING_SPACE)
        newline, paragraph = "Ċ" in surface, "ĊĊ" in surface
        table[i] = {
            "word": word,
            "word_or_newline": word or newline,
            "newline": newline,
            "paragraph": paragraph,
        }[rule]
    if not table.any():
        raise ValueError(
            f"no token of {tokenizer.name_or_path!r} is a {rule!r} boundary: its vocabulary is not byte-level BPE, "
            "and a tandem rollout would change hands only every max_gap_tokens tokens"
        )
    return table
