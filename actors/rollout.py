"""The rollout actor: the engines of a senior and its juniors, which write rollouts together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

from actors.admission import Admission, KVUse
from actors.engine_spec import EngineSpec, visible_gpus
from actors.fork_server import fork_engines, set_vllm_environment, start_fork_server
from actors.group_task import GroupTask
from actors.token_stream import StreamedSession, TokenStream, WrittenTokens
from tandem.cogeneration import Limits, Session, cogenerate
from tandem.models.loading import load_tokenizer
from tandem.replay import draws_of
from tandem.rollout import JUNIOR, SENIOR, Group, Rollout
from tandem.runtime.imports import without_collection
from tandem.runtime.processes import ProcessLocation, process_location
from tandem.runtime.trace import Span, TraceRow
from tandem.runtime.weights import PublishedWeights
from tandem.schedule import Schedule, draw_junior, noise_seed
from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tandem.translation import TranslatedSession, Translation

if TYPE_CHECKING:
    from actors.engine import Engine


EngineKey = tuple[int, int]
"""An engine of an actor: its author and, for a junior, its index."""
_SENIOR: EngineKey = (SENIOR, 0)


class RolloutActor:
    """An actor with the engines of a senior and its juniors (none under the solo schedule), which writes groups of rollouts.

    Its methods run concurrently, so that the rollouts of many groups share the engines' batches.
    """

    def __init__(self, specs: Sequence[EngineSpec]) -> None:
        self._specs = {(spec.author, spec.junior): spec for spec in specs}
        self._hosted = {(JUNIOR, 0)} if specs[0].shared else set[EngineKey]()
        """the authors for which the senior's engine writes too"""
        self._common = specs[0]
        """the senior's spec, or that of the only author: device, tokens and longest text of the rollouts are its own"""
        self._engines: dict[EngineKey, Engine] = {}
        self.admissions: dict[EngineKey, Admission] = {}
        """of rollouts to the engines, once they have started"""
        self._ages = count()
        self._turns: list[Span] | None = None
        """the turns written while profiling; None otherwise"""
        self._stream = TokenStream()
        self._boundaries = self._common.boundaries()
        self._tokenizer = load_tokenizer(self._common.model)
        self._translations = {key: self._translation(spec) for key, spec in self._specs.items() if spec.unit}

    async def start(self) -> int:
        """Start the engines; return the most rollouts that they write at a time."""
        set_vllm_environment()
        context = start_fork_server() if self._common.device == "cpu" else None
        with without_collection():
            # Imported here: importing vLLM takes seconds and reads the environment.
            from actors.engine import Engine

        if context:
            fork_engines(context)
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        # On a GPU one after the other: an engine measures the free memory while it starts.
        at_once = asyncio.Semaphore(1 if self._common.device == "cuda" else len(self._specs))

        async def start_one(key: EngineKey, spec: EngineSpec) -> None:
            async with at_once:
                if spec.gpus:  # inherited by the engine's processes; the other engines start before or after
                    os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpus(spec.gpus, gpus)
                engine = self._engines[key] = await asyncio.to_thread(Engine, spec)
            if spec.lora_rank:
                await engine.reset_adapter()
            self.admissions[key] = Admission(engine.kv_cache(), spec.max_num_seqs // spec.sessions)

        await asyncio.gather(*(start_one(*item) for item in self._specs.items()))
        await self.reseed(0)  # starting has taken noise
        fit = {author: 0 for author, _ in self._specs}
        for (author, _), admission in self.admissions.items():
            fit[author] += admission.most
        return min(fit.values())

    async def write_group(self, task: GroupTask) -> Group:
        """Write the rollouts of one group. Raises `ValueError` for a prompt that does not fit the context.

        On return, error or cancellation, nothing of the group is left in the engines.
        """
        try:
            async with asyncio.TaskGroup() as group:
                rollouts = [
                    group.create_task(self._write(task, rollout_id, seed))
                    for rollout_id, seed in zip(task.rollout_ids, task.seeds, strict=True)
                ]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return Group(task.prompt, [rollout.result() for rollout in rollouts], task.schedule)

    async def written(self) -> list[WrittenTokens]:
        """Wait until streamed groups have written tokens; return those since the last call."""
        return await self._stream.take()

    async def _write(self, task: GroupTask, rollout_id: str, seed: int) -> Rollout:
        junior = draw_junior(seed, task.junior_weights)
        keys = [_SENIOR] if task.schedule.solo else [(JUNIOR, junior), _SENIOR]
        engines = dict.fromkeys(map(self._host, keys))
        async with AsyncExitStack() as places:
            # The junior's place is always first, so that there is no deadlock, and a rollout that waits for a busy junior
            # holds no place of the senior.
            for engine in engines:
                await places.enter_async_context(self.admissions[engine])
            age_rank = next(self._ages)
            rollout = await cogenerate(
                rollout_id,
                task.prompt.token_ids,
                self._sessions(keys, rollout_id, seed, age_rank, task),
                task.schedule,
                self._boundaries,
                seed,
                self._limits(task),
            )
            for engine in engines:
                self.admissions[engine].add_length((len(rollout.prompt_ids) + len(rollout)) / self._common.max_model_len)
        rollout.junior = junior
        return self._finished(rollout, task.schedule)

    def _host(self, key: EngineKey) -> EngineKey:
        """Return the engine that writes for an author."""
        return _SENIOR if key in self._hosted else key

    def _limits(self, task: GroupTask) -> Limits:
        return Limits(task.sampling.max_tokens, self._common.max_model_len, frozenset(self._common.eos_ids))

    def _finished(self, rollout: Rollout, schedule: Schedule) -> Rollout:
        """Return `rollout`, which was written under `schedule`, with its text and its draws."""
        rollout.text = self._tokenizer.decode(rollout.token_ids, skip_special_tokens=True)
        rollout.draws = draws_of(rollout, schedule, self._boundaries)
        return rollout

    def _sessions(
        self, keys: Sequence[EngineKey], rollout_id: str, seed: int, age_rank: int, task: GroupTask
    ) -> dict[int, Session]:
        """Return the sessions of a rollout's authors, whose engines pass the pen to each other if they share their tokens."""
        from actors.engine_session import EngineSession, link  # imported here, as the engine

        sessions = {key: self._author_session(key, rollout_id, seed, age_rank, task) for key in keys}
        link({key[0]: session for key, session in sessions.items() if isinstance(session, EngineSession)})
        return {key[0]: self._observed(key, session, rollout_id, task) for key, session in sessions.items()}

    def _observed(self, key: EngineKey, session: Session, rollout_id: str, task: GroupTask) -> Session:
        """Return `session`, whose tokens are streamed and traced if they are to be."""
        if task.streamed:
            session = StreamedSession(session, key[0], rollout_id, self._stream)
        if self._turns is None:
            return session
        from actors.engine_session import TracedSession  # imported here, as the engine

        return TracedSession(session, _name(key), rollout_id, self._turns)

    def _author_session(self, key: EngineKey, rollout_id: str, seed: int, age_rank: int, task: GroupTask) -> Session:
        noise = noise_seed(seed, key[0]) if task.repeatable else None
        engine = self._engines[self._host(key)]
        session = engine.session(rollout_id, task.sampling, noise, age_rank, frozen=key[0] == JUNIOR)
        if key not in self._translations:
            return session
        prompt_ids, context = task.prompt.junior_token_ids[key[1]], self._specs[key].max_model_len
        return TranslatedSession(session, self._translations[key], prompt_ids, len(task.prompt.token_ids), context)

    def _translation(self, junior: EngineSpec) -> Translation:
        assert junior.unit is not None
        return Translation(
            senior=self._vocabulary,
            junior=ByteVocabulary(load_tokenizer(junior.model)),
            unit=junior.unit,
            stops=junior.boundaries(),
            senior_eos=self._common.eos_ids[0],
            junior_eos=frozenset(junior.eos_ids),
        )

    @cached_property
    def _vocabulary(self) -> ByteVocabulary:
        """The senior's vocabulary, for juniors with another."""
        return ByteVocabulary(self._tokenizer)

    async def receive_weights(self, published: PublishedWeights) -> int:
        """Load published weights in the senior's engine and return the version that it then reports. Wakes all engines."""
        engine = self._engines[_SENIOR]
        version = await engine.while_alive(engine.receive_weights(published))
        await self.wake()
        return version

    async def reseed(self, shift: int) -> None:
        """Seed the noise of rollouts without a seed, each engine by the seed of its spec plus `shift`."""
        engines = ((self._specs[key].seed, engine) for key, engine in self._engines.items())
        await asyncio.gather(*(engine.while_alive(engine.reseed((seed + shift) % 2**32)) for seed, engine in engines))

    async def text_logprobs(self, texts: Sequence[Sequence[int]]) -> list[float]:
        """Return the log-probabilities of the tokens of `texts` after the first of each, at temperature 1, of the senior."""
        engine = self._engines[_SENIOR]
        calls = (engine.text_logprobs(text, f"text {index}") for index, text in enumerate(texts))
        return [logprob for logprobs in await asyncio.gather(*map(engine.while_alive, calls)) for logprob in logprobs]

    async def wake(self) -> None:
        """Wake the engines that sleep."""
        await asyncio.gather(*(engine.while_alive(engine.wake()) for engine in self._engines.values()))

    async def sleep(self) -> None:
        """Free the GPU memory of all engines until `wake` or `receive_weights`; no group may be in flight."""
        await asyncio.gather(*(engine.while_alive(engine.sleep()) for engine in self._engines.values()))

    async def transfer(self, step: str, info: Any) -> None:
        """Run one step of a weight transfer to the senior's engine (see `Engine.transfer`)."""
        await self._engines[_SENIOR].transfer(step, info)

    async def checksums(self, author: int) -> list[str]:
        """Return a checksum of the weights of each engine of `author`: one of the senior, one of each junior."""
        engines = [self._engines[self._host(key)] for key in (*self._specs, *self._hosted) if key[0] == author]
        return [await engine.while_alive(engine.weights_checksum(author)) for engine in engines]

    async def kv_use(self) -> dict[str, KVUse]:
        """Return how each engine has used its KV cache since the last call."""
        return {_name(key): await engine.while_alive(engine.kv_use()) for key, engine in self._engines.items()}

    async def start_profile(self) -> None:
        """Start to record turns here and operations in the engines."""
        self._turns = []
        await asyncio.gather(*(engine.while_alive(engine.start_profile()) for engine in self._engines.values()))

    async def stop_profile(self) -> list[TraceRow]:
        """Stop recording; return a row of turns and one of each engine's worker, named as by `processes`."""
        turns, self._turns = self._turns or [], None
        rows = [TraceRow("", turns)]
        for key in self._specs:  # `_engines` is in the order in which they became ready
            engine = self._engines[key]
            for index, profile in enumerate(await engine.while_alive(engine.stop_profile()) or [b""]):
                worker = f", worker {index}" if index else ""
                rows.append(TraceRow(f", {_name(key).replace('_', ' ')} engine{worker}", profile=profile))
        return rows

    async def processes(self) -> dict[str, ProcessLocation]:
        """Return where this actor runs (``), and each of its engines (`, senior engine`)."""
        engines = {
            f", {_name(key).replace('_', ' ')} engine": process_location(engine.pid) for key, engine in self._engines.items()
        }
        return {"": process_location()} | engines

    async def close(self) -> None:
        """End the engines' processes."""
        await asyncio.gather(*(asyncio.to_thread(engine.close) for engine in self._engines.values()))


def _name(key: EngineKey) -> str:
    """Return `senior`, `junior`, or `junior_1` for another junior."""
    author, junior = key
    return "senior" if author == SENIOR else "junior" + (f"_{junior}" if junior else "")
