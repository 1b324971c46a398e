"""How an engine follows the schedule while it writes: the handoff rule over a whole batch, in tensors.

When the pen passes, the writer's next step is forced to the *sentinel*, a token that never occurs in text and that stops the
turn; in every other step the sentinel is forbidden. The forward pass that "samples" the sentinel computes the KV entries of
the turn's last token, which were owed anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from tandem.schedule import Pen, redraw


class TurnStart(NamedTuple):
    """What an engine must know at the start of a turn to follow the schedule by itself."""

    seed: int
    position: int
    gap: int
    threshold: int
    max_gap: int
    alternates: int

    @classmethod
    def at(cls, pen: Pen) -> TurnStart:
        """The start of a turn at the pen's present state."""
        return cls(pen.seed, pen.position, pen.gap, pen.threshold, pen.max_gap, pen.alternates)


_SEED, _POSITION, _GAP, _THRESHOLD, _MAX_GAP, _ALTERNATES, _AUTHOR, _FOLLOWS = range(8)


class HandoffBatch:
    """The schedule's state for every row of an engine's batch.

    `boundaries` is the boundary table, int64 [V] on the device; `author` is who this engine writes for; `sentinel` the id that
    ends a turn; `rows` the largest batch. Rows that carry no turn (`admit` with None) write freely.
    """

    def __init__(self, boundaries: torch.Tensor, *, author: int, sentinel: int, rows: int) -> None:
        self._boundaries, self._author, self._sentinel = boundaries, author, sentinel
        self._state = torch.zeros(8, rows, dtype=torch.int64, device=boundaries.device)

    def admit(self, row: int, start: TurnStart | None, written: Sequence[int] = ()) -> None:
        """Puts a turn in `row`, `written` being the tokens it has already produced (after a preemption)."""
        if start is None:
            self._state[:, row] = 0
            return
        self._state[:, row] = torch.tensor([*start, self._author, 1])
        for token in written:
            self.advance([row], [token])

    def move(self, source: int, target: int) -> None:
        """Moves the turn in row `source` to row `target`."""
        self._state[:, target] = self._state[:, source]

    def swap(self, one: int, other: int) -> None:
        """Exchanges two rows."""
        self._state[:, [one, other]] = self._state[:, [other, one]]

    def advance(self, rows: Sequence[int], tokens: Sequence[int]) -> None:
        """Notes that each of `rows` (distinct) emitted the token of the same index."""
        index = torch.tensor(rows, dtype=torch.int64, device=self._state.device)
        state = self._state[:, index]
        position = state[_POSITION] + 1
        author, gap = redraw(
            state[_AUTHOR],
            state[_GAP],
            position=position,
            boundary=self._boundaries[torch.tensor(tokens, dtype=torch.int64, device=self._state.device)],
            seed=state[_SEED],
            threshold=state[_THRESHOLD],
            max_gap=state[_MAX_GAP],
            alternates=state[_ALTERNATES],
        )
        self._state[_POSITION, index], self._state[_AUTHOR, index], self._state[_GAP, index] = position, author, gap

    def force(self, logits: torch.Tensor) -> torch.Tensor:
        """Leaves only the sentinel where the pen has passed and forbids it elsewhere; `logits` [R, V], in place."""
        state = self._state[:, : logits.shape[0]]
        passed = ((state[_AUTHOR] != self._author) & (state[_FOLLOWS] == 1)).nonzero().squeeze(1)
        logits[:, self._sentinel] = -torch.inf
        logits[passed] = -torch.inf
        logits[passed, self._sentinel] = 0.0
        return logits
