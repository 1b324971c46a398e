"""The ways to write the same rollouts on the same pair of engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.engines import EnginePair
from bench.workload import Workload
from tandem.cogeneration import Session, Token, cogenerate
from tandem.rollout import JUNIOR, SENIOR, Rollout, StopReason
from tandem.schedule import SOLO, Pen, Schedule

if TYPE_CHECKING:
    from actors.engine import Engine

Writing = Coroutine[Any, Any, Rollout]
Mode = Callable[[EnginePair, Workload, str], Coroutine[Any, Any, list[Rollout]]]
"""Writes a workload's rollouts; the text is a prefix of request ids, which must be new."""


async def solo(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """The senior's engine alone: vanilla GRPO on half of the hardware."""
    return await _all(_write(pair, work, tag, i, [SENIOR], SOLO) for i in range(len(work.prompts)))


async def tandem(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """Both engines, a streaming session each, as training writes."""
    return await _all(_write(pair, work, tag, i, [SENIOR, JUNIOR], work.schedule) for i in range(len(work.prompts)))


async def naive(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """Both engines, a fresh request a turn, with prefix caching: what one would write without sessions."""

    def write(index: int) -> Writing:
        rollout_id = f"{tag}/{index}"
        sessions = {a: RequestPerTurn(engine, rollout_id, work.sampling.temperature) for a, engine in pair.engines.items()}
        return _cogenerate(work, index, rollout_id, sessions, work.schedule)

    return await _all(write(i) for i in range(len(work.prompts)))


async def solo_two_devices(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """Both engines hold the senior (they are self-paired), each writes half of the rollouts alone: vanilla GRPO on the
    same hardware."""

    def write(index: int) -> Writing:
        author = (SENIOR, JUNIOR)[index % 2]
        return _write(pair, work, tag, index, [author], Schedule(prob_senior=float(author == SENIOR)))

    return await _all(write(i) for i in range(len(work.prompts)))


class RequestPerTurn:
    """A `tandem.cogeneration.Session` without state in the engine: every turn is a plain request with the whole text so far."""

    def __init__(self, engine: Engine, rollout_id: str, temperature: float) -> None:
        self._engine, self._rollout_id, self._temperature = engine, rollout_id, temperature
        self._text: list[int] = []
        self._turns = 0
        self.stop_reason: StopReason | None = None
        """not told apart here"""
        self._request: asyncio.Task[list[Token]] | None = None

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Sends the text so far, and lets the engine write until the schedule passes the pen."""
        self._text += new_tokens
        self._turns += 1
        self._request = asyncio.create_task(self._complete(pen, budget))

    async def read(self) -> list[Token]:
        """All tokens of the turn, when it is over."""
        assert self._request is not None
        tokens = await self._request
        self._text += [token.id for token in tokens]
        return tokens

    async def close(self) -> None:
        """Cancels a turn that is not over."""
        if self._request is not None:
            self._request.cancel()

    async def _complete(self, pen: Pen, budget: int) -> list[Token]:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        from actors.carried_pen import carrying

        params = SamplingParams(
            temperature=self._temperature,
            max_tokens=budget,
            logprobs=0,
            flat_logprobs=True,
            ignore_eos=True,
            extra_args=carrying(pen),
            output_kind=RequestOutputKind.FINAL_ONLY,
            detokenize=False,
        )
        prompt, request_id = TokensPrompt(prompt_token_ids=list(self._text)), f"{self._rollout_id}/{self._turns}"
        async for output in self._engine.generate(prompt, params, request_id):
            written = output.outputs[0]
        drawn = zip(written.token_ids, written.logprobs.logprobs, strict=True)
        return [Token(token, logprob, self._engine.version) for token, logprob in drawn]


MODES: dict[str, Mode] = {"solo": solo, "tandem": tandem, "naive": naive, "solo_two_devices": solo_two_devices}


def shortened(work: Workload, tokens: int) -> Workload:
    """The same rollouts, cut to `tokens` tokens: to warm up with."""
    return replace(work, tokens=tokens, limits=replace(work.limits, max_tokens=tokens))


def _write(pair: EnginePair, work: Workload, tag: str, index: int, authors: Sequence[int], schedule: Schedule) -> Writing:
    rollout_id = f"{tag}/{index}"
    sessions = {author: pair.engines[author].session(rollout_id, work.sampling) for author in authors}
    return _cogenerate(work, index, rollout_id, sessions, schedule)


def _cogenerate(work: Workload, index: int, rollout_id: str, sessions: Mapping[int, Session], schedule: Schedule) -> Writing:
    return cogenerate(rollout_id, work.prompts[index], sessions, schedule, work.boundaries, index, work.limits)


async def _all(writings: Iterable[Writing]) -> list[Rollout]:
    return await asyncio.gather(*writings)
