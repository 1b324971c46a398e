"""One author's view of one rollout: a streaming request to its engine that outlives the author's turns."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import ClassVar, Protocol

from vllm import SamplingParams
from vllm.lora.request import LoRARequest
from vllm.v1.engine import FinishReason
from vllm.v1.engine.exceptions import EngineDeadError

from actors.carried_pen import Partner, carrying
from actors.engine_spec import EngineSpec
from actors.turn_exchange import TurnExchange
from actors.turn_messages import BegunTurn, WrittenPart
from tandem.cogeneration import AuthorFailed, PartnerFailed, Session, Token, Tokens, WrappedSession
from tandem.config.rollout import SamplingConfig
from tandem.rollout import FROZEN_VERSION, StopReason
from tandem.runtime.trace import Span
from tandem.schedule import Pen


class SessionEngine(Protocol):
    """The part of an engine that a session uses."""

    spec: EngineSpec
    version: int
    """of the weights that the engine computes with"""
    logit_bias: dict[int, float]
    """added to the logits of ids that must not be sampled"""
    adapter: LoRARequest | None
    """of the senior's requests"""
    exchange: TurnExchange

    @property
    def address(self) -> str:
        """Return where the engine receives turns from other engines."""
        ...

    async def failure(self) -> AuthorFailed:
        """Return the error that says why the engine died."""
        ...


class EngineSession:
    """A `tandem.cogeneration.Session` on a streaming-input request of vLLM, which keeps its KV cache between turns.

    All turns of a session follow one schedule with one seed. Where the KV cache is short, the engine prefers rollouts of a
    smaller `age_rank`; all sessions of a rollout must have the same. A `frozen` session computes with the base's weights,
    without the engine's adapter.
    """

    MOST_PARTS: ClassVar = 64
    """How many parts of turns may arrive before their reader wakes, if the engines have passed the pen after each: reading
    many at once takes less time."""

    def __init__(
        self,
        engine: SessionEngine,
        rollout_id: str,
        sampling: SamplingConfig,
        noise_seed: int | None,
        age_rank: int = 0,
        *,
        frozen: bool = False,
    ) -> None:
        self._engine, self._rollout_id, self._sampling = engine, rollout_id, sampling
        self._noise_seed, self._age_rank, self._frozen = noise_seed, age_rank, frozen
        self._request_id: str | None = None
        """None before the first turn"""
        self._writes = False
        """whether the engine is writing a turn"""
        self._retracts = False
        """whether the last token that it wrote is not part of the text"""
        self._arrived: deque[tuple[WrittenPart, int]] = deque()
        """the parts that were written and not yet read, each with the version of its weights"""
        self._unpassed = 0
        """how many of them have to be read before the rollout continues"""
        self._author: int | None = None
        """who writes; None without a partner"""
        self._partner: EngineSession | None = None
        """the other author's session, which gets the pen from engine to engine"""
        self._passed = False
        """whether the partner's engine has passed a turn that was not begun here"""
        self._error: Exception | None = None
        self._arrival: asyncio.Future[None] | None = None
        """set while a reader waits"""
        self.stop_reason: StopReason | None = None
        """why the engine last ended a turn; None before it ended any"""

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Send the engine the tokens it has not read and start a turn of at most `budget` tokens at the pen's state.

        Sends nothing if the partner's engine has passed this turn.
        """
        if self._writes or (self._arrived and not self._passed):
            raise RuntimeError(f"rollout {self._rollout_id}: the engine continued after the pen had passed")
        self._writes = True
        if self._passed:
            self._passed = False
            return
        if not new_tokens and self._partner is not None:
            raise self._early_end
        if not new_tokens and (self._request_id is None or self._retracts):
            raise ValueError(f"rollout {self._rollout_id}: a turn must begin with new tokens")
        exchange = self._engine.exchange
        if self._request_id is None:
            # The salt keeps rollouts from sharing the KV blocks of prompts that other weights have read.
            salt, params = str(self._version), self._params(budget, pen)
            adapter = None if self._frozen else self._engine.adapter
            self._request_id = exchange.start(self, self._rollout_id, new_tokens, params, salt, self._age_rank, adapter)
        else:
            exchange.begin(BegunTurn(self._request_id, list(new_tokens), budget, pen[3:], self._retracts))
            self._retracts = False

    @property
    def _early_end(self) -> RuntimeError:
        return RuntimeError(f"rollout {self._rollout_id}: the engine ended a turn that the schedule continues")

    @property
    def _version(self) -> int:
        """The version of the weights that the session computes with."""
        return FROZEN_VERSION if self._frozen else self._engine.version

    def retract(self) -> None:
        """Remove the last token of the turn that ended from the text."""
        self._retracts = True

    async def read(self) -> Tokens:
        """Return the next tokens of the current turn, and of later ones if the engines collect reports.

        Raises `AuthorFailed` when the engine has died, `PartnerFailed` when that of the partner has, perhaps with a turn that
        it passed, and `RuntimeError` when engine and schedule disagree about the end of the turn.
        """
        if not self._writes:
            raise self._early_end
        while not self._arrived:
            await self._raise_error()
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        tokens, session = Tokens(), self
        while session._arrived and (session._writes or session._passed):
            part, version = session._arrived.popleft()
            session._unpassed -= not part.passed
            tokens.extend(part.tokens, part.logprobs, version, session._author)
            if part.reason is None:
                continue
            session._end_turn(part)
            if part.passed and session._partner and self._engine.spec.collects_reports:
                session = session._partner
        return tokens

    def _end_turn(self, part: WrittenPart) -> None:
        """End the turn with its last part."""
        self._writes = self._passed = False
        if part.passed and self._partner is not None:
            self._partner._passed = True
        if part.reason == FinishReason.LENGTH:
            self.stop_reason = StopReason.LENGTH
        else:
            self.stop_reason = StopReason.EOS if part.tokens[-1] in self._engine.spec.eos_ids else StopReason.HANDOFF

    async def _raise_error(self) -> None:
        """Raise the error that ended the session, or its partner's."""
        if isinstance(self._error, EngineDeadError):
            raise await self._engine.failure() from self._error
        if self._error is not None:
            raise RuntimeError(f"rollout {self._rollout_id}: {self._error}")
        if self._partner is not None and self._partner._error is not None:
            try:
                await self._partner._raise_error()
            except AuthorFailed as failure:
                raise PartnerFailed(*failure.args) from failure

    def receive(self, part: WrittenPart) -> None:
        """Store tokens that the engine has written, with the version of its weights."""
        self._arrived.append((part, self._version))
        self._unpassed += not part.passed
        if self._is_due or (self._partner is not None and self._partner._is_due):
            self._wake()

    def fail(self, error: Exception) -> None:
        """Store the error that ended the session."""
        self._error = error
        self._wake()

    @property
    def _is_due(self) -> bool:
        """Whether the parts that have arrived must be read now."""
        return bool(self._unpassed) or len(self._arrived) >= self.MOST_PARTS or not self._engine.spec.collects_reports

    def _wake(self) -> None:
        """Wake the rollout's reader, which waits for this session or for its partner."""
        for session in (self, self._partner):
            if session is not None and session._arrival is not None and not session._arrival.done():
                session._arrival.set_result(None)

    @property
    def _as_partner(self) -> Partner:
        """Where another engine passes the pen to this session."""
        return Partner(self._engine.address, self._request_id or "")

    async def close(self) -> None:
        """End the request and free its KV blocks and its slot."""
        if self._request_id is not None:
            self._engine.exchange.close(self._request_id)

    def _params(self, budget: int, pen: Pen) -> SamplingParams:
        return SamplingParams(
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
            top_k=self._sampling.top_k,
            seed=self._noise_seed,
            max_tokens=budget,
            logit_bias=self._engine.logit_bias or None,
            logprobs=0,
            # Both authors' engines stop at the same end-of-sequence ids.
            ignore_eos=True,
            stop_token_ids=[*self._engine.spec.eos_ids],
            extra_args=carrying(pen, self._partner._as_partner if self._partner else None),
            detokenize=False,
            skip_clone=True,  # vLLM would copy every entry of `logit_bias`
        )


def link(sessions: Mapping[int, EngineSession]) -> None:
    """Let the engines of a rollout's authors, by author, pass the pen to each other; do nothing for an author alone."""
    for (author, session), (_, partner) in permutations(sessions.items(), 2):
        session._author, session._partner = author, partner


class TracedSession(WrappedSession):
    """A session that adds a span to `turns` for every part of a turn that `author` writes in `session`."""

    def __init__(self, session: Session, author: str, rollout_id: str, turns: list[Span]) -> None:
        super().__init__(session)
        self._author, self._rollout_id, self._turns = author, rollout_id, turns
        self._start_s = 0.0

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Begin a turn (see `Session.begin_turn`)."""
        self._start_s = time.time()
        super().begin_turn(new_tokens, pen, budget)

    async def read(self) -> Sequence[Token]:
        """Return the next tokens (see `Session.read`)."""
        tokens = await super().read()
        start_s, self._start_s = self._start_s, time.time()
        self._turns.append(Span(f"{self._author} ({len(tokens)})", self._rollout_id, start_s, self._start_s))
        return tokens
