"""The handoff rule as a vLLM logits processor (the batch-row interface, which CPU engines and the older GPU runner use)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from actors.carried_turn import carried_turn
from actors.engine_spec import EngineSpec
from tandem.handoff import HandoffBatch


@dataclass
class _Row:
    output: list[int]
    """the request's output tokens, a list that vLLM extends"""
    seen: int
    """how many of them the batch state has followed"""


class HandoffProcessor(LogitsProcessor):
    """Ends a turn, by forcing the sentinel, in the step after the schedule passed the pen.

    The state of a row is rebuilt from the turn's start and its tokens whenever vLLM adds the request to the batch, so that
    nothing is assumed to survive a preemption.
    """

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        spec = EngineSpec.of(vllm_config)
        assert spec.sentinel is not None
        self._batch = HandoffBatch(
            torch.from_numpy(spec.boundaries()).to(device=device, dtype=torch.int64),
            author=spec.author,
            sentinel=spec.sentinel,
            rows=vllm_config.scheduler_config.max_num_seqs,
        )
        self._rows: dict[int, _Row] = {}

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raises `ValueError` when a request carries something else than a `TurnStart`."""
        carried_turn(sampling_params)

    def is_argmax_invariant(self) -> bool:
        """False: the sentinel must be forced and forbidden under greedy decoding too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows requests in and out of the batch, then advances every row by the token it emitted."""
        if batch_update is not None:
            self._follow(batch_update)
        rows, tokens = [], []
        for index, row in self._rows.items():
            if len(row.output) > row.seen:
                # One token a step: speculative decoding is off and scheduling synchronous.
                rows.append(index)
                tokens.append(row.output[-1])
                row.seen = len(row.output)
        if rows:
            self._batch.advance(rows, tokens)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Forces the sentinel where a turn is over and forbids it elsewhere; `logits` [R, V]."""
        return self._batch.force(logits)

    def _follow(self, update: BatchUpdate) -> None:
        for row in update.removed:
            self._forget(row)
        for row, params, _, output in update.added:
            turn = carried_turn(params)
            if turn is None:
                self._forget(row)
                continue
            self._batch.admit(row, turn, output)
            self._rows[row] = _Row(output, len(output))
        for source, target, direction in update.moved:
            here, there = self._rows.pop(source, None), self._rows.pop(target, None)
            if direction is MoveDirectionality.SWAP:
                self._batch.swap(source, target)
                if there is not None:
                    self._rows[source] = there
            else:
                self._batch.move(source, target)
                self._batch.admit(source, None)
            if here is not None:
                self._rows[target] = here

    def _forget(self, row: int) -> None:
        self._batch.admit(row, None)
        self._rows.pop(row, None)
