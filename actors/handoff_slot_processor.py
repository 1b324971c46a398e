"""The handoff rule as a vLLM logits processor (the request-slot interface of Model Runner V2, GPU engines' default).

Nothing here waits for the device but a request that comes back from a preemption.
"""

from __future__ import annotations

import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsContext, LogitsProcessor, LogitsProcRequestState

from actors.carried_turn import carried_turn
from actors.engine_spec import EngineSpec
from tandem.handoff import HandoffBatch


class HandoffSlotProcessor(LogitsProcessor):
    """Ends a turn, by forcing the sentinel, in the step after the schedule passed the pen; see `HandoffProcessor`."""

    def __init__(self, vllm_config: VllmConfig, req_states: LogitsProcRequestState) -> None:
        spec = EngineSpec.of(vllm_config)
        assert spec.sentinel is not None
        self._requests = req_states
        self._batch = HandoffBatch(
            torch.from_numpy(spec.boundaries()).to(device=req_states.device, dtype=torch.int64),
            author=spec.author,
            sentinel=spec.sentinel,
            rows=req_states.max_num_reqs,
        )
        self._entered: list[int] = []

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raises `ValueError` when a request carries something else than a `TurnStart`."""
        carried_turn(sampling_params)

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Puts the request's turn in its slot. Always True: the sentinel is forbidden to every request."""
        turn = carried_turn(sampling_params)
        self._batch.admit(req_idx, turn)
        if turn is not None:
            self._entered.append(req_idx)
        return True

    def apply_staged_writes(self) -> None:
        """Replays what a request had already written in its turn when it was preempted; `apply` sees the last of it."""
        for slot in self._entered:
            start, stop = int(self._requests.prompt_len.np[slot]), int(self._requests.prefill_len.np[slot])
            for token in self._requests.all_token_ids.gpu[slot, start : max(start, stop - 1)].tolist():
                self._batch.advance([slot], [token])
        self._entered.clear()

    def apply(self, logits: torch.Tensor, ctx: LogitsContext) -> torch.Tensor:
        """Advances every row by the token that was fed to the model, then forces or forbids the sentinel; `logits` [R, V]."""
        slots = ctx.expanded_idx_mapping.to(torch.int64)
        read = ctx.pos + 1
        # Tokens of the prompt are not the author's, and a chunk that ends before the text does samples nothing that counts.
        emitted = (read > self._requests.prompt_len.gpu[slots]) & (read >= self._requests.prefill_len.gpu[slots])
        self._batch.advance(slots, ctx.input_ids, emitted)
        return self._batch.force(logits, slots)
