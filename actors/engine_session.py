"""One author's view of one rollout: a streaming request to its engine that outlives the author's turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from vllm import SamplingParams
from vllm.engine.protocol import StreamingInput
from vllm.inputs import tokens_input
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError

from actors.carried_pen import carrying
from actors.engine_spec import EngineSpec
from tandem.cogeneration import AuthorFailed, Session, Token
from tandem.config.rollout import SamplingConfig
from tandem.rollout import StopReason
from tandem.runtime.trace import Span
from tandem.schedule import Pen


class GeneratingEngine(Protocol):
    """The part of an engine that a session uses."""

    spec: EngineSpec
    version: int
    """of the weights that the engine computes with"""
    logit_bias: dict[int, float]
    """added to the logits of ids that must not be sampled"""

    def generate(
        self, stream: AsyncGenerator[StreamingInput, None], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput, None]:
        """Start a request and return its outputs."""
        ...

    async def failure(self) -> AuthorFailed:
        """Return the error that says why the engine died."""
        ...


class EngineSession:
    """A `tandem.cogeneration.Session` on a streaming-input request of vLLM, which keeps its KV cache between turns."""

    def __init__(self, engine: GeneratingEngine, rollout_id: str, sampling: SamplingConfig, noise_seed: int | None) -> None:
        self._engine, self._rollout_id, self._sampling, self._noise_seed = engine, rollout_id, sampling, noise_seed
        self._turns: asyncio.Queue[StreamingInput] = asyncio.Queue()
        self._outputs = engine.generate(self._stream(), self._params(1, None), rollout_id)
        self._turns_begun = self._turns_ended = 0
        self._unprocessed_token: list[int] = []
        """the last token of a turn: vLLM discards it before reading it"""
        self.stop_reason: StopReason | None = None
        """why the engine last ended a turn; None before it ended any"""

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Send the engine the tokens it has not read and start a turn of at most `budget` tokens at the pen's state."""
        if not self._unprocessed_token and not new_tokens:
            raise ValueError(f"rollout {self._rollout_id}: a turn must begin with new tokens")
        self._turns_begun += 1
        self._turns.put_nowait(
            StreamingInput(
                # The salt keeps rollouts from sharing the KV blocks of prompts that other weights have read.
                prompt=tokens_input([*self._unprocessed_token, *new_tokens], cache_salt=str(self._engine.version)),
                sampling_params=self._params(budget, pen),
            )
        )
        self._unprocessed_token = []

    def retract(self) -> None:
        """Remove the last token of the turn that ended from the text."""
        self._unprocessed_token = []

    async def read(self) -> list[Token]:
        """Return the next tokens of the current turn.

        Raises `AuthorFailed` when the engine has died, and `RuntimeError` when engine and schedule disagree about the end of
        the turn.
        """
        tokens: list[Token] = []
        while not tokens:
            if self._turns_ended == self._turns_begun:
                raise RuntimeError(f"rollout {self._rollout_id}: the engine ended a turn that the schedule continues")
            try:
                output = await anext(self._outputs, None)
            except EngineDeadError as error:
                raise await self._engine.failure() from error
            completion = output.outputs[0] if output else None
            if completion is None or not completion.token_ids:
                reason = completion.finish_reason if completion else "no more output"
                raise RuntimeError(f"rollout {self._rollout_id}: the engine ended the request ({reason})")
            # vLLM merges outputs that are not fetched at once: one may hold the end of a turn and the start of the next.
            for token, logprob in zip(completion.token_ids, completion.logprobs.logprobs, strict=True):
                if self._turns_ended != self._turns_begun - 1:
                    raise RuntimeError(f"rollout {self._rollout_id}: the engine continued after the pen had passed")
                tokens.append(Token(token, logprob, self._engine.version))
            if completion.finish_reason is not None:
                self._end(completion)
        return tokens

    def _end(self, completion: CompletionOutput) -> None:
        last = completion.token_ids[-1]
        self._turns_ended += 1
        self._unprocessed_token = [last]
        if completion.finish_reason == "length":
            self.stop_reason = StopReason.LENGTH
        else:
            self.stop_reason = StopReason.EOS if last in self._engine.spec.eos_ids else StopReason.HANDOFF

    async def close(self) -> None:
        """End the request and free its KV blocks and its slot."""
        await self._outputs.aclose()

    async def _stream(self) -> AsyncGenerator[StreamingInput, None]:
        while True:
            yield await self._turns.get()

    def _params(self, budget: int, pen: Pen | None) -> SamplingParams:
        return SamplingParams(
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
            top_k=self._sampling.top_k,
            seed=self._noise_seed,
            max_tokens=budget,
            logit_bias=self._engine.logit_bias or None,
            logprobs=0,
            flat_logprobs=True,
            # Both authors' engines stop at the same end-of-sequence ids.
            ignore_eos=True,
            stop_token_ids=[*self._engine.spec.eos_ids],
            extra_args=carrying(pen) if pen else None,
            output_kind=RequestOutputKind.DELTA,
            detokenize=False,
            skip_clone=True,
        )


class TracedSession:
    """A session that adds a span to `turns` for every part of a turn that `author` writes in `session`."""

    def __init__(self, session: Session, author: str, rollout_id: str, turns: list[Span]) -> None:
        self._session, self._author, self._rollout_id, self._turns = session, author, rollout_id, turns
        self._start_s = 0.0

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Begin a turn (see `Session.begin_turn`)."""
        self._start_s = time.time()
        self._session.begin_turn(new_tokens, pen, budget)

    async def read(self) -> Sequence[Token]:
        """Return the next tokens (see `Session.read`)."""
        tokens = await self._session.read()
        start_s, self._start_s = self._start_s, time.time()
        self._turns.append(Span(f"{self._author} ({len(tokens)})", self._rollout_id, start_s, self._start_s))
        return tokens

    async def close(self) -> None:
        """End the session."""
        await self._session.close()

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the author last stopped writing; None before it did."""
        return self._session.stop_reason
