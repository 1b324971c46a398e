"""One author's view of one rollout: a streaming request to its engine that outlives the author's turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from vllm import SamplingParams
from vllm.engine.protocol import StreamingInput
from vllm.inputs import tokens_input
from vllm.outputs import CompletionOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError

from actors.carried_turn import carrying
from tandem.cogeneration import Token
from tandem.config.rollout import SamplingConfig
from tandem.rollout import StopReason
from tandem.schedule import Pen, TurnStart

if TYPE_CHECKING:
    from actors.engine import Engine


class EngineSession:
    """One author's view of one rollout: a streaming-input request of vLLM, which keeps its KV cache between turns."""

    def __init__(self, engine: Engine, rollout_id: str, sampling: SamplingConfig, noise_seed: int | None) -> None:
        self._engine, self._rollout_id, self._sampling, self._noise_seed = engine, rollout_id, sampling, noise_seed
        self._turns: asyncio.Queue[StreamingInput] = asyncio.Queue()
        self._outputs = engine.generate(self._stream(), self._params(1, None), rollout_id)
        self._begun = 0
        """turns begun"""
        self._ended = 0
        """turns that the engine ended"""
        self._unprocessed_token: list[int] = []
        """the last token of a turn, which vLLM discards: it never read it"""
        self.stop_reason: StopReason | None = None
        """why the engine last ended a turn; None before it ended any"""

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Gives the engine the tokens it has not seen and lets it write (see `tandem.cogeneration.Session`)."""
        if not self._unprocessed_token and not new_tokens:
            raise ValueError(f"rollout {self._rollout_id}: a turn must not begin without news")
        self._begun += 1
        self._turns.put_nowait(
            StreamingInput(
                # The salt keeps rollouts from sharing prompts that other weights have read.
                prompt=tokens_input([*self._unprocessed_token, *new_tokens], cache_salt=str(self._engine.version)),
                sampling_params=self._params(budget, TurnStart.at(pen)),
            )
        )
        self._unprocessed_token = []

    def retract(self) -> None:
        """Takes back the last token of the turn that ended: it shall not be part of the text."""
        self._unprocessed_token = []

    async def read(self) -> list[Token]:
        """The next tokens of the present turn.

        Raises `AuthorFailed` when the engine's process is gone, and `RuntimeError` when engine and schedule disagree about the
        end of the turn.
        """
        tokens: list[Token] = []
        while not tokens:
            if self._ended == self._begun:
                raise RuntimeError(f"rollout {self._rollout_id}: the engine ended a turn that the schedule goes on with")
            try:
                output = await anext(self._outputs, None)
            except EngineDeadError as error:
                raise await self._engine.lost() from error
            completion = output.outputs[0] if output else None
            if completion is None or not completion.token_ids:
                reason = completion.finish_reason if completion else "no more output"
                raise RuntimeError(f"rollout {self._rollout_id}: the engine gave it up ({reason})")
            # vLLM merges outputs that are not fetched at once: one may hold the end of a turn and the beginning of the next.
            for token, logprob in zip(completion.token_ids, completion.logprobs.logprobs, strict=True):
                if self._ended == self._begun - 1:
                    tokens.append(Token(token, logprob, self._engine.version))
                else:
                    raise RuntimeError(f"rollout {self._rollout_id}: the engine wrote on after the pen had passed")
            if completion.finish_reason is not None:
                self._end(completion)
        return tokens

    def _end(self, completion: CompletionOutput) -> None:
        last = completion.token_ids[-1]
        self._ended += 1
        self._unprocessed_token = [last]
        if completion.finish_reason == "length":
            self.stop_reason = StopReason.LENGTH
        else:
            self.stop_reason = StopReason.EOS if last in self._engine.spec.eos_ids else StopReason.HANDOFF

    async def close(self) -> None:
        """Ends the request and frees its KV blocks and its slot."""
        await self._outputs.aclose()

    async def _stream(self) -> AsyncGenerator[StreamingInput, None]:
        while True:
            yield await self._turns.get()

    def _params(self, budget: int, start: TurnStart | None) -> SamplingParams:
        return SamplingParams(
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
            top_k=self._sampling.top_k,
            seed=self._noise_seed,
            max_tokens=budget,
            logit_bias=self._engine.forbidden or None,
            logprobs=0,
            flat_logprobs=True,
            # The end-of-sequence ids are named here, so that both authors' engines stop at the same ones.
            ignore_eos=True,
            stop_token_ids=[*self._engine.spec.eos_ids],
            extra_args=carrying(start) if start else None,
            output_kind=RequestOutputKind.DELTA,
            detokenize=False,
            skip_clone=True,
        )
