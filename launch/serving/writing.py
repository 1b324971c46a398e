"""The texts of a request: a rollout for each, whose tokens become text as they arrive."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from actors.group_task import GroupTask
from actors.streaming_pool import StreamingPool
from actors.token_stream import WrittenTokens
from launch.serving.metrics import Metrics
from launch.serving.requests import MAX_SEED
from launch.serving.texts import StoppedText
from tandem.config.rollout import SamplingConfig
from tandem.rollout import AUTHOR_NAMES, EndReason, Prompt, Rollout
from tandem.schedule import Schedule
from tandem.tokenization.detokenizer import Detokenizer


@dataclass(frozen=True)
class TextTask:
    """What determines the texts of a request."""

    model: str
    prompts: Sequence[Prompt]
    texts_per_prompt: int
    schedule: Schedule
    sampling: SamplingConfig
    seed: int | None
    """determines schedule and noise of the first text; None: drawn, and the noise of the engines is used"""
    stops: Sequence[str]

    @property
    def texts(self) -> int:
        """Return the number of texts."""
        return len(self.prompts) * self.texts_per_prompt


class TextToken(NamedTuple):
    """A written token."""

    id: int
    author: int
    logprob: float
    text: str
    """the token alone, decoded"""


class Delta(NamedTuple):
    """What was added to one text of a request."""

    choice: int
    """which text: an index"""
    text: str
    tokens: list[TextToken]
    finish_reason: str | None = None
    """why the text ended: `stop` or `length`; None: it continues"""
    seed: int = 0
    """the text's seed"""


class TextWriter:
    """Writes texts with the replicas of `pool`. There is one for each pool: it numbers the rollouts."""

    def __init__(
        self, pool: StreamingPool, tokenizer: PreTrainedTokenizerBase, junior_weights: tuple[float, ...], metrics: Metrics
    ) -> None:
        self._pool, self._tokenizer, self._junior_weights, self._metrics = pool, tokenizer, junior_weights, metrics
        self._ids = itertools.count()

    async def write(self, task: TextTask) -> AsyncGenerator[Delta, None]:
        """Yield what is added to the texts of `task`, as it is written. When the generator is closed, they are cancelled.

        Raises what `StreamingPool.stream` raises.
        """
        arrived: asyncio.Queue[Delta | None] = asyncio.Queue()
        seed = secrets.randbelow(MAX_SEED + 1) if task.seed is None else task.seed

        async def write_one(index: int, prompt: Prompt) -> None:
            one = self._group(task, prompt, (seed + index) % (MAX_SEED + 1))
            async with aclosing(self._write_one(task, index, one)) as deltas:
                async for delta in deltas:
                    arrived.put_nowait(delta)

        prompts = [prompt for prompt in task.prompts for _ in range(task.texts_per_prompt)]
        writing = [asyncio.ensure_future(write_one(*item)) for item in enumerate(prompts)]
        for text in writing:
            text.add_done_callback(lambda _: arrived.put_nowait(None))
        unfinished = len(writing)
        try:
            while unfinished:
                if (delta := await arrived.get()) is not None:
                    yield delta
                    continue
                unfinished -= 1
                for text in writing:
                    if text.done():
                        text.result()  # raises its error
        finally:
            for text in writing:
                text.cancel()
            await asyncio.gather(*writing, return_exceptions=True)

    def _group(self, task: TextTask, prompt: Prompt, seed: int) -> GroupTask:
        """Return the task of one rollout."""
        name = f"serving-{next(self._ids)}"
        return GroupTask(
            prompt,
            (name,),
            (seed,),
            task.schedule,
            task.sampling,
            self._junior_weights,
            repeatable=task.seed is not None,
            streamed=True,
        )

    async def _write_one(self, task: TextTask, index: int, group: GroupTask) -> AsyncGenerator[Delta, None]:
        detokenizer, text, start = Detokenizer(self._tokenizer), StoppedText(task.stops), time.monotonic()
        (seed,) = group.seeds
        first = True
        with self._metrics.writing(task.model) as observed:
            async with aclosing(self._pool.stream(group)) as parts:
                async for part in parts:
                    if isinstance(part, Rollout):
                        rest = text.add(detokenizer.end()) + text.end()
                        finish_reason = "stop" if text.stopped or part.end is EndReason.EOS else "length"
                        yield Delta(index, rest, [], finish_reason, seed)
                        return
                    if first:
                        observed.first_token(time.monotonic() - start)
                        first = False
                    delta = self._delta(index, part, detokenizer, text, seed)
                    observed.tokens(AUTHOR_NAMES[part.author], len(delta.tokens))
                    yield delta
                    if text.stopped:
                        return

    def _delta(self, index: int, part: WrittenTokens, detokenizer: Detokenizer, text: StoppedText, seed: int) -> Delta:
        """Return what `part` adds to the text, up to the token with which it stops."""
        added, tokens = "", []
        for token, logprob in zip(part.ids, part.logprobs, strict=True):
            tokens.append(TextToken(token, part.author, logprob, self._tokenizer.decode([token])))
            added += text.add(detokenizer.add(token))
            if text.stopped:
                break
        return Delta(index, added, tokens, "stop" if text.stopped else None, seed)
