"""The rollout actor: a senior's engine and its juniors' that write rollouts together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from actors.engine_spec import EngineSpec, visible_gpus
from actors.noted_session import TracedSession
from tandem.authors import draw_junior, noise_seed
from tandem.cogeneration import Limits, Session, cogenerate
from tandem.config.rollout import SamplingConfig
from tandem.models.loading import load_tokenizer
from tandem.rollout import JUNIOR, SENIOR, Group, Prompt, Rollout
from tandem.runtime.processes import ProcessLocation, process_location
from tandem.runtime.trace import Row, Span
from tandem.runtime.weights import PublishedWeights
from tandem.schedule import Schedule
from tandem.tokenization.byte_level import ByteLevel
from tandem.translation import TranslatedSession, Translation

if TYPE_CHECKING:
    from actors.engine import Engine


EngineKey = tuple[int, int]
"""One of an actor's engines: its author, and for a junior which of them."""
_SENIOR: EngineKey = (SENIOR, 0)


@dataclass(frozen=True)
class GroupTask:
    """One prompt and the rollouts to write for it; a rollout's seed determines its schedule and its junior."""

    prompt: Prompt
    rollout_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    schedule: Schedule
    sampling: SamplingConfig
    junior_weights: tuple[float, ...] = (1.0,)
    """how often each junior is drawn, relative to the others"""
    repeatable: bool = False
    """whether a rollout's seed determines its sampling noise too"""


class RolloutActor:
    """Hosts the engines of a senior and its juniors (the senior's alone for the solo schedule) and writes groups of rollouts.

    `ray.remote(RolloutActor)` makes the actor; its methods run concurrently, so that the rollouts of many groups share the
    engines' batches.
    """

    def __init__(self, specs: Sequence[EngineSpec]) -> None:
        self._specs = {(spec.author, spec.junior): spec for spec in specs}
        self._senior = self._specs[_SENIOR]
        self._engines: dict[EngineKey, Engine] = {}
        self._slots: dict[EngineKey, asyncio.Semaphore] = {}
        self._turns: list[Span] | None = None
        """the turns that were written, while they are profiled"""
        self._boundaries = self._senior.boundaries()
        self._tokenizer = load_tokenizer(self._senior.model)
        self._translations = {key: self._translation(spec) for key, spec in self._specs.items() if spec.unit}

    async def start(self) -> int:
        """Starts the engines; returns how many rollouts they write at a time."""
        # Imported here: vLLM takes seconds to import, and reads the environment when it is.
        from actors.engine import Engine, quiet_environment

        quiet_environment()
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        # On a GPU one after the other, since an engine measures the free memory while it starts.
        at_once = asyncio.Semaphore(1 if self._senior.device == "cuda" else len(self._specs))

        async def start_one(key: EngineKey, spec: EngineSpec) -> None:
            async with at_once:
                if spec.gpus:  # the engine's processes inherit it; its siblings start before or after
                    os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpus(spec.gpus, gpus)
                engine = self._engines[key] = await asyncio.to_thread(Engine, spec)
            self._slots[key] = asyncio.Semaphore(engine.rollouts_that_fit)

        await asyncio.gather(*(start_one(*item) for item in self._specs.items()))
        fit = {key: engine.rollouts_that_fit for key, engine in self._engines.items()}
        senior = fit.pop(_SENIOR)
        return min(senior, sum(fit.values())) if fit else senior

    async def write_group(self, task: GroupTask) -> Group:
        """Writes the rollouts of one group. Raises `ValueError` for a prompt that the context cannot hold.

        When it ends, by an error or a cancellation too, nothing of the group is left in the engines.
        """
        identities = zip(task.rollout_ids, task.seeds, strict=True)
        try:
            async with asyncio.TaskGroup() as group:
                writing = [group.create_task(self._write(task, *identity)) for identity in identities]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return Group(task.prompt, [rollout.result() for rollout in writing])

    async def _write(self, task: GroupTask, rollout_id: str, seed: int) -> Rollout:
        junior = draw_junior(seed, task.junior_weights)
        keys = [_SENIOR] if task.schedule.solo else [(JUNIOR, junior), _SENIOR]
        async with AsyncExitStack() as slots:
            # A session holds a slot and KV blocks in each of its engines until its rollout ends: more of them than fit would
            # leave the engines waiting for each other. The junior's slot comes first, always, so that nobody waits in a
            # circle and who waits for a busy junior keeps nobody from the senior.
            for key in keys:
                await slots.enter_async_context(self._slots[key])
            rollout = await cogenerate(
                rollout_id,
                task.prompt.token_ids,
                {key[0]: self._noted(key, rollout_id, self._session(key, rollout_id, seed, task)) for key in keys},
                task.schedule,
                self._boundaries,
                seed,
                Limits(task.sampling.max_tokens, self._senior.max_model_len, frozenset(self._senior.eos_ids)),
            )
        rollout.junior = junior
        rollout.text = self._tokenizer.decode(rollout.token_ids, skip_special_tokens=True)
        return rollout

    def _session(self, key: EngineKey, rollout_id: str, seed: int, task: GroupTask) -> Session:
        noise = noise_seed(seed, key[0]) if task.repeatable else None
        session = self._engines[key].session(rollout_id, task.sampling, noise)
        if key not in self._translations:
            return session
        prompt_ids, context = task.prompt.junior_token_ids[key[1]], self._specs[key].max_model_len
        return TranslatedSession(session, self._translations[key], prompt_ids, len(task.prompt.token_ids), context)

    def _noted(self, key: EngineKey, rollout_id: str, session: Session) -> Session:
        """`session`, its turns noted if they are profiled."""
        return session if self._turns is None else TracedSession(session, _name(key), rollout_id, self._turns)

    def _translation(self, junior: EngineSpec) -> Translation:
        assert junior.unit is not None
        eos = self._tokenizer.eos_token_id
        return Translation(
            senior=self._vocabulary,
            junior=ByteLevel(load_tokenizer(junior.model)),
            unit=junior.unit,
            stops=junior.boundaries(),
            senior_eos=self._senior.eos_ids[0] if eos is None else eos,
            junior_eos=frozenset(junior.eos_ids),
        )

    @cached_property
    def _vocabulary(self) -> ByteLevel:
        """The senior's, for juniors that have another."""
        return ByteLevel(self._tokenizer)

    async def receive_weights(self, published: PublishedWeights) -> int:
        """Has the senior's engine take published weights; returns the version that the engine then reports. All wake."""
        engine = self._engines[_SENIOR]
        version = await engine.unless_dead(engine.receive_weights(published))
        await self.wake()
        return version

    async def wake(self) -> None:
        """Has the engines take the memory of their GPU back, if they gave it."""
        await asyncio.gather(*(engine.unless_dead(engine.wake()) for engine in self._engines.values()))

    async def sleep(self) -> None:
        """Has the engines give the memory of their GPU back, until they are woken or the senior's receives weights; nothing may
        be in flight."""
        await asyncio.gather(*(engine.unless_dead(engine.sleep()) for engine in self._engines.values()))

    async def transfer(self, step: str, info: Any) -> None:
        """A step of a weight transfer to the senior's engine (see `Engine.transfer`)."""
        await self._engines[_SENIOR].transfer(step, info)

    async def checksums(self, author: int) -> list[str]:
        """Fingerprints of the weights that each of `author`'s engines computes with: one for the senior, one a junior."""
        engines = [self._engines[key] for key in self._specs if key[0] == author]
        return [await engine.unless_dead(engine.weights_checksum()) for engine in engines]

    async def kv_usage(self) -> dict[str, float]:
        """Return the largest share of its KV cache that each engine has used since the last call."""
        return {_name(key): await engine.unless_dead(engine.kv_usage()) for key, engine in self._engines.items()}

    async def start_profile(self) -> None:
        """From here on it notes who writes when, and its engines their operations."""
        self._turns = []
        await asyncio.gather(*(engine.unless_dead(engine.start_profile()) for engine in self._engines.values()))

    async def stop_profile(self) -> list[Row]:
        """What it has noted since, and what each worker of its engines has; named as `processes` names them."""
        turns, self._turns = self._turns or [], None
        rows = [Row("", turns)]
        for key in self._specs:  # whose order is not that in which the engines were ready
            engine = self._engines[key]
            for index, profile in enumerate(await engine.unless_dead(engine.stop_profile()) or [b""]):
                worker = f", worker {index}" if index else ""
                rows.append(Row(f", {_name(key).replace('_', ' ')} engine{worker}", profile=profile))
        return rows

    async def processes(self) -> dict[str, ProcessLocation]:
        """Where this actor runs (``), and each of its engines (`, senior engine`)."""
        engines = {
            f", {_name(key).replace('_', ' ')} engine": process_location(engine.pid) for key, engine in self._engines.items()
        }
        return {"": process_location()} | engines

    async def prompt_logprobs(self, author: int, token_ids: Sequence[int], request_id: str) -> list[float]:
        """What `author`'s (first) engine gives a text as log-probabilities; see `Engine.prompt_logprobs`."""
        return await self._engines[author, 0].prompt_logprobs(token_ids, request_id)

    async def close(self) -> None:
        """Ends the engines' processes."""
        await asyncio.gather(*(asyncio.to_thread(engine.close) for engine in self._engines.values()))


def _name(key: EngineKey) -> str:
    """`senior`, `junior`, and `junior_1` for another junior."""
    author, junior = key
    return "senior" if author == SENIOR else "junior" + (f"_{junior}" if junior else "")
