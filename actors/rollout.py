"""The rollout actor: a senior and a junior engine that write rollouts together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from actors.engine_spec import EngineSpec
from tandem.cogen import Limits, cogenerate
from tandem.rollout import SENIOR, Group, Prompt, Rollout
from tandem.schedule import Schedule
from tandem.weights import PublishedWeights

if TYPE_CHECKING:
    from actors.engine import Engine


@dataclass(frozen=True)
class GroupTask:
    """One prompt and the rollouts to write for it; ids and seeds determine each rollout's schedule."""

    prompt: Prompt
    rollout_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    schedule: Schedule
    temperature: float
    max_tokens: int


class RolloutActor:
    """Hosts one pair of engines (the senior alone for the solo schedule) and writes groups of rollouts on them.

    `ray.remote(RolloutActor)` makes the actor; its methods run concurrently, so that the rollouts of many groups share the
    engines' batches.
    """

    def __init__(self, specs: Sequence[EngineSpec]) -> None:
        self._specs = {spec.author: spec for spec in specs}
        self._engines: dict[int, Engine] = {}
        self._boundaries = self._specs[SENIOR].boundaries()
        self._tokenizer = AutoTokenizer.from_pretrained(self._specs[SENIOR].model)

    async def start(self) -> int:
        """Starts the engines; returns how many rollouts may be in flight."""
        # Imported here: vLLM takes seconds to import, and reads the environment when it is.
        from actors.engine import Engine, quiet_environment

        quiet_environment()
        # On a GPU one after the other, since an engine measures the free memory while it starts.
        at_once = asyncio.Semaphore(1 if self._specs[SENIOR].device == "cuda" else len(self._specs))

        async def start(spec: EngineSpec) -> None:
            async with at_once:
                self._engines[spec.author] = await asyncio.to_thread(Engine, spec)

        await asyncio.gather(*map(start, self._specs.values()))
        admitted = min(engine.rollouts_that_fit for engine in self._engines.values())
        self._admission = asyncio.Semaphore(admitted)
        return admitted

    async def write_group(self, task: GroupTask) -> Group:
        """Writes the rollouts of one group. Raises `ValueError` for a prompt that the context cannot hold."""
        rollouts = await asyncio.gather(
            *(self._write(task, *identity) for identity in zip(task.rollout_ids, task.seeds, strict=True))
        )
        return Group(task.prompt, rollouts)

    async def _write(self, task: GroupTask, rollout_id: str, seed: int) -> Rollout:
        spec = self._specs[SENIOR]
        # A session holds a slot and KV blocks in both engines until its rollout ends: more of them than fit would
        # leave each engine waiting for the other.
        async with self._admission:
            rollout = await cogenerate(
                rollout_id,
                task.prompt.token_ids,
                {author: engine.session(rollout_id, task.temperature) for author, engine in self._engines.items()},
                task.schedule,
                self._boundaries,
                seed,
                Limits(task.max_tokens, spec.max_model_len, frozenset(spec.eos_ids)),
            )
        rollout.text = self._tokenizer.decode(rollout.token_ids, skip_special_tokens=True)
        return rollout

    async def receive_weights(self, published: PublishedWeights) -> int:
        """Loads published weights into the senior's engine; returns the version that the engine then reports."""
        return await self._engines[SENIOR].receive_weights(published)

    async def checksum(self, author: int) -> str | None:
        """A fingerprint of the weights `author`'s engine computes with; None when it has no engine."""
        engine = self._engines.get(author)
        return None if engine is None else await engine.weights_checksum()

    async def prompt_logprobs(self, author: int, token_ids: Sequence[int], request_id: str) -> list[float]:
        """The engine's own log-probabilities of a given text; see `Engine.prompt_logprobs`."""
        return await self._engines[author].prompt_logprobs(token_ids, request_id)

    async def close(self) -> None:
        """Ends the engines' processes."""
        await asyncio.gather(*(asyncio.to_thread(engine.close) for engine in self._engines.values()))
