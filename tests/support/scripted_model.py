"""The page of launch/write.py with a model whose words are written down, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import uvicorn

from actors.engine_layout import engine_specs
from actors.group_task import GroupTask
from actors.person_actor import PersonActor
from actors.rollout import EngineKey
from actors.streaming_pool import StreamingPool
from actors.token_stream import TokenStream, WrittenTokens
from launch.serving.gate import Gate
from launch.serving.metrics import Metrics
from launch.writing.folder import WritingFolder
from launch.writing.routes import create_app
from launch.writing.texts import Texts
from tandem.authors import Authors
from tandem.cogeneration import Session, Tokens
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config
from tandem.data.prompts import encode
from tandem.rollout import FROZEN_VERSION, Problem, Rollout, StopReason
from tandem.schedule import Pen
from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tandem.verify.pool import VerifierPool
from tests.support.builders import admission

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

    def _session(self, key: EngineKey, rollout_id: str, seed: int, age_rank: int, task: GroupTask) -> Session:
        left = self._left.setdefault(task.rollout_ids[0], [*self._tokens])
        return _ScriptedSession(left)


class _LocalPool:
    """The actor as a pool, and as the stream of its own tokens."""

    def __init__(self, actor: _ScriptedActor) -> None:
        self._actor, self._inboxes = actor, dict[str, asyncio.Queue[WrittenTokens | None]]()
        actor._stream = cast(TokenStream, self)

    @property
    def writing(self) -> int:
        """The number of texts that are being written."""
        return len(self._inboxes)

    def add(self, written: WrittenTokens) -> None:
        """Add tokens to be yielded, unless their text was cancelled."""
        if inbox := self._inboxes.get(written.rollout_id):
            inbox.put_nowait(written)

    async def stream(self, task: GroupTask) -> AsyncGenerator[WrittenTokens | Rollout, None]:
        """Write the text of `task` as `StreamingPool.stream` does."""
        (name,) = task.rollout_ids
        inbox = self._inboxes[name] = asyncio.Queue()
        group = asyncio.ensure_future(self._actor.write_group(task))
        group.add_done_callback(lambda _: inbox.put_nowait(None))
        try:
            while part := await inbox.get():
                yield part
            yield group.result().rollouts[0]
        finally:
            group.cancel()
            del self._inboxes[name]

    async def ask(self, rollout_id: str, method: str, *arguments: Any) -> Any:
        return await getattr(self._actor, method)(rollout_id, *arguments)


class ScriptedPage:
    """A running page."""

    def __init__(self, url: str, folder: WritingFolder, pool: _LocalPool) -> None:
        self.url, self.folder, self.pool = url, folder, pool


@contextmanager
def scripted_page(
    config: Config, authors: Authors, folder: Path, words: str, problem: Problem, *, person: int
) -> Iterator[ScriptedPage]:
    """Serve the page with a model that writes `words` in every text, for `problem`."""
    step = ScheduleConfig(name="step", alternates=True)
    config = replace(config, schedule=step, log=replace(config.log, dir=str(folder)))
    config = replace(config, data=replace(config.data, max_prompt_tokens=200))
    config = replace(config, rollout=replace(config.rollout, sampling=replace(config.rollout.sampling, max_tokens=300)))
    authors = replace(authors, context=501)
    (specs,) = engine_specs(config, authors, "cpu")
    actor = _ScriptedActor([spec for spec in specs if spec.author != person], words)
    prompts, _ = encode([problem], authors.tokenizer, config.data)
    pool = _LocalPool(actor)
    with WritingFolder(config) as kept, VerifierPool(1, 10, 2) as verifier:
        texts = Texts(config, authors, person, prompts, cast(StreamingPool, pool), verifier, kept)
        gate = Gate(create_app(texts), "", 1 << 20, Metrics(), frozenset())
        server = uvicorn.Server(uvicorn.Config(gate, port=0, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                thread.join(0.01)
                assert thread.is_alive()
            (listener,) = server.servers[0].sockets
            yield ScriptedPage(f"http://127.0.0.1:{listener.getsockname()[1]}", kept, pool)
        finally:
            server.should_exit = True
            thread.join()
