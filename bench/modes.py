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
"""Writes the rollouts of a workload; the string is a new prefix of request ids."""


async def solo(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """Write with the senior's engine alone: plain GRPO on half of the hardware."""
    return await write_all(_write(pair, work, tag, i, [SENIOR], SOLO) for i in range(len(work.prompts)))


async def tandem(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """Write with both engines, a streaming session on each, as in training."""
    return await write_all(_write(pair, work, tag, i, [SENIOR, JUNIOR], work.schedule) for i in range(len(work.prompts)))


async def naive(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """Write with both engines and a new request for every turn, with prefix caching instead of sessions."""

    def write(index: int) -> Writing:
        rollout_id = f"{tag}/{index}"
        sessions = {a: RequestPerTurn(engine, rollout_id, work.sampling.temperature) for a, engine in pair.engines.items()}
        return write_rollout(work, index, rollout_id, sessions, work.schedule)

    return await write_all(write(i) for i in range(len(work.prompts)))


async def solo_two_devices(pair: EnginePair, work: Workload, tag: str) -> list[Rollout]:
    """Write half of the rollouts on each engine alone: plain GRPO on the same hardware, since the pair has equal weights."""

    def write(index: int) -> Writing:
        author = (SENIOR, JUNIOR)[index % 2]
        return _write(pair, work, tag, index, [author], Schedule(prob_senior=float(author == SENIOR)))

    return await write_all(write(i) for i in range(len(work.prompts)))


class RequestPerTurn:
    """A `tandem.cogeneration.Session` without state in the engine: every turn is a plain request with the text so far."""

    def __init__(self, engine: Engine, rollout_id: str, temperature: float) -> None:
        self._engine, self._rollout_id, self._temperature = engine, rollout_id, temperature
        self._text: list[int] = []
        self._turns = 0
        self.stop_reason: StopReason | None = None
        """not distinguished here"""
        self._request: asyncio.Task[list[Token]] | None = None

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Send the text so far; the engine writes until the schedule passes the pen."""
        self._text += new_tokens
        self._turns += 1
        self._request = asyncio.create_task(self._complete(pen, budget))

    async def read(self) -> list[Token]:
        """Return all tokens of the finished turn."""
        assert self._request is not None
        tokens = await self._request
        self._text += [token.id for token in tokens]
        return tokens

    async def close(self) -> None:
        """Cancel an unfinished turn."""
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
    """Return the same rollouts cut to `tokens` tokens, as a warm-up."""
    return replace(work, tokens=tokens, limits=replace(work.limits, max_tokens=tokens))


def _write(pair: EnginePair, work: Workload, tag: str, index: int, authors: Sequence[int], schedule: Schedule) -> Writing:
    rollout_id = f"{tag}/{index}"
    sessions = pair.sessions(rollout_id, work.sampling, authors)
    return write_rollout(work, index, rollout_id, sessions, schedule)


def write_rollout(work: Workload, index: int, rollout_id: str, sessions: Mapping[int, Session], schedule: Schedule) -> Writing:
    """Write rollout number `index` of a workload in `sessions`."""
    return cogenerate(rollout_id, work.prompts[index], sessions, schedule, work.boundaries, index, work.limits)


async def write_all(writings: Iterable[Writing]) -> list[Rollout]:
    """Write rollouts at the same time."""
    return await asyncio.gather(*writings)
