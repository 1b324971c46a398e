"""How an engine follows the schedule with rollout.turn_end=sentinel: the handoff rule over a whole batch, in tensors.

When the pen passes, the writer's next step is forced to the *sentinel*, a token that never occurs in text and that stops the
turn; in every other step the sentinel is forbidden. The forward pass that "samples" the sentinel computes the KV entries of
the turn's last token, which were owed anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tandem.schedule import TurnStart, redraw

Rows = Sequence[int] | torch.Tensor
"""Integers [n], on the host or on the device."""

_SEED, _POSITION, _GAP, _THRESHOLD, _MAX_GAP, _ALTERNATES, _BOUNDARY, _AUTHOR, _FOLLOWS = range(9)


class HandoffBatch:
    """The schedule's state for every row of an engine's batch.

    `boundaries` is the boundary table, int64 [V] on the device; `author` is who this engine writes for; `sentinel` the id that
    ends a turn; `rows` the largest batch. Rows that carry no turn (`admit` with None) write freely.
    """

    def __init__(self, boundaries: torch.Tensor, *, author: int, sentinel: int, rows: int) -> None:
        self._boundaries, self._author, self._sentinel = boundaries, author, sentinel
        self._state = torch.zeros(9, rows, dtype=torch.int64, device=boundaries.device)

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

    def advance(self, rows: Rows, tokens: Rows, emitted: torch.Tensor | None = None) -> None:
        """Notes that each of `rows` (distinct) emitted the token of the same index; if given, only where `emitted` holds."""
        index, written = self._indices(rows), self._indices(tokens)
        before = self._state[:, index]
        after = before.clone()
        after[_POSITION] += 1
        after[_AUTHOR], after[_GAP] = redraw(
            before[_AUTHOR],
            before[_GAP],
            position=after[_POSITION],
            boundary=((self._boundaries[written] & before[_BOUNDARY]) != 0).long(),
            seed=before[_SEED],
            threshold=before[_THRESHOLD],
            max_gap=before[_MAX_GAP],
            alternates=before[_ALTERNATES],
        )
        self._state[:, index] = after if emitted is None else torch.where(emitted, after, before)

    def force(self, logits: torch.Tensor, rows: Rows | None = None) -> torch.Tensor:
        """Leaves only the sentinel where the pen has passed and forbids it elsewhere; in place.

        `logits` is [R, V]; its rows belong to `rows` of the batch, or to the first R.
        """
        state = self._state[:, : len(logits)] if rows is None else self._state[:, self._indices(rows)]
        passed = (state[_AUTHOR] != self._author) & (state[_FOLLOWS] == 1)
        if logits.device.type == "cpu":
            logits[passed.nonzero().squeeze(1)] = -torch.inf  # few rows: going over all logits would cost more
        else:
            logits.masked_fill_(passed[:, None], -torch.inf)  # nonzero() would wait for the device
        logits[:, self._sentinel] = torch.where(passed, 0.0, -torch.inf)
        return logits

    def _indices(self, values: Rows) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.int64, device=self._state.device)
