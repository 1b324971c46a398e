"""The page of launch/write.py in a thread of the test's process, also with a model whose words are written down."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import uvicorn

from actors.group_task import GroupTask
from actors.person_actor import PersonActor
from actors.rollout import EngineKey
from actors.streaming_pool import StreamingPool
from launch.serving.gate import Gate
from launch.serving.metrics import Metrics
from launch.writing.folder import WritingFolder
from launch.writing.program import model_specs
from launch.writing.routes import create_app
from launch.writing.texts import Texts
from tandem.authors import Authors
from tandem.cogeneration import Session, Tokens
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config
from tandem.data.prompts import encode
from tandem.rollout import FROZEN_VERSION, Problem, StopReason
from tandem.schedule import Pen
from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tandem.verify.pool import VerifierPool
from tests.support.builders import admission
from tests.support.local_pool import LocalPool

PAUSE_S = 0.02
"""The time that a model takes for a token."""


class _ScriptedSession:
    """A session that writes the next of `tokens`, which all sessions of a text share."""

    stop_reason: StopReason | None = None

    def __init__(self, tokens: list[int]) -> None:
        self._tokens = tokens

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        pass

    async def read(self) -> Tokens:
        await asyncio.sleep(PAUSE_S)
        tokens = Tokens()
        tokens.extend([self._tokens.pop(0)], [-0.5], FROZEN_VERSION)
        return tokens

    async def close(self) -> None:
        pass


class _ScriptedActor(PersonActor):
    """A rollout actor whose engine writes `words` in every text."""

    def __init__(self, specs: Any, words: str) -> None:
        super().__init__(specs)
        self._tokens = ByteVocabulary(self._tokenizer).encode(words.encode())
        self.admissions[self._model, 0] = admission(8)
        self._left: dict[str, list[int]] = {}

    def _author_session(self, key: EngineKey, rollout_id: str, seed: int, age_rank: int, task: GroupTask) -> Session:
        left = self._left.setdefault(task.rollout_ids[0], [*self._tokens])
        return _ScriptedSession(left)


class Page:
    """A running page."""

    def __init__(self, url: str, folder: WritingFolder, pool: LocalPool) -> None:
        self.url, self.folder, self.pool = url, folder, pool


@contextmanager
def _running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread during the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@contextmanager
def served_page(
    config: Config, authors: Authors, actor: PersonActor, problem: Problem, loop: asyncio.AbstractEventLoop, *, person: int
) -> Iterator[Page]:
    """Serve the page with the model of `actor`, which runs in `loop`, for `problem`."""
    prompts, _ = encode([problem], authors.tokenizer, config.data)
    pool = LocalPool(actor)
    with WritingFolder(config) as kept, VerifierPool(1, 10, 2) as verifier:
        texts = Texts(config, authors, person, prompts, cast(StreamingPool, pool), verifier, kept)
        gate = Gate(create_app(texts), "", 1 << 20, Metrics(), frozenset())
        server = uvicorn.Server(uvicorn.Config(gate, port=0, log_level="warning", timeout_graceful_shutdown=1))
        serving = asyncio.run_coroutine_threadsafe(server.serve(), loop)
        try:
            while not server.started:
                time.sleep(0.01)
                assert not serving.done()
            (listener,) = server.servers[0].sockets
            yield Page(f"http://127.0.0.1:{listener.getsockname()[1]}", kept, pool)
        finally:
            server.should_exit = True
            serving.result(timeout=60)


@contextmanager
def scripted_page(
    config: Config, authors: Authors, folder: Path, words: str, problem: Problem, *, person: int
) -> Iterator[Page]:
    """Serve the page with a model that writes `words` in every text, for `problem`."""
    step = ScheduleConfig(name="step", alternates=True)
    config = replace(config, schedule=step, log=replace(config.log, dir=str(folder)))
    config = replace(config, data=replace(config.data, max_prompt_tokens=200))
    config = replace(config, rollout=replace(config.rollout, sampling=replace(config.rollout.sampling, max_tokens=300)))
    authors = replace(authors, context=501)
    actor = _ScriptedActor(model_specs(config, authors, person), words)
    with _running_loop() as loop, served_page(config, authors, actor, problem, loop, person=person) as page:
        yield page
