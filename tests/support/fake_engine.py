"""An engine whose client records what it sends, for tests of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

from vllm.v1.engine import EngineCoreOutputs, EngineCoreRequest, EngineCoreRequestType
from vllm.v1.engine.exceptions import EngineDeadError

from actors.engine_session import EngineSession
from actors.turn_exchange import TurnExchange
from actors.turn_messages import WrittenPart, begun_request, written_output
from tandem.cogeneration import AuthorFailed
from tandem.config.rollout import SamplingConfig
from tandem.rollout import SENIOR
from tandem.schedule import Schedule

PEN = Schedule().pen(0)
EOS = 9


class FakeClient:
    """A fake of vLLM's client that records what it sends."""

    def __init__(self) -> None:
        self.outputs_queue: asyncio.Queue[Any] = asyncio.Queue()
        self.resources = SimpleNamespace(engine_dead=False)
        self.sent: list[tuple[EngineCoreRequestType, Any]] = []

    def _send_input(self, kind: EngineCoreRequestType, content: Any) -> None:
        if self.resources.engine_dead:
            raise EngineDeadError
        self.sent.append((kind, content))

    def _ensure_output_queue_task(self) -> None:
        pass

    def write(self, *parts: WrittenPart) -> None:
        self.outputs_queue.put_nowait(EngineCoreOutputs(outputs=[written_output(list(parts))]))


def opening_request(rollout_id: str, *_: Any, **__: Any) -> EngineCoreRequest:
    """Return the first request of a session, with its rollout's id."""
    request = begun_request([])
    request.request_id = rollout_id
    return request


class FakeEngine:
    """The part of an engine that sessions use, on a fake client. Requests have the ids of their rollouts."""

    def __init__(self) -> None:
        self.client = FakeClient()
        inputs = SimpleNamespace(process_inputs=opening_request, assign_request_id=lambda _: None)
        self.llm: Any = SimpleNamespace(engine_core=self.client, input_processor=inputs, _run_output_handler=lambda: None)
        self.exchange = TurnExchange(self.llm)
        self.spec: Any = SimpleNamespace(author=SENIOR, eos_ids=(EOS,), collects_reports=True)
        self.address, self.version, self.logit_bias, self.adapter = "/tmp/engine", 3, dict[int, float](), None

    def session(self, rollout_id: str) -> EngineSession:
        session = EngineSession(self, rollout_id, SamplingConfig(), None)
        session.begin_turn([1, 2], PEN, 10)
        return session

    async def failure(self) -> AuthorFailed:
        return AuthorFailed("its engine died")


def run_on_fake_engine(test: Callable[[FakeEngine], Coroutine[Any, Any, None]]) -> None:
    """Run `test` on an event loop, with a new `FakeEngine`."""

    async def main() -> None:
        await test(FakeEngine())

    asyncio.run(main())
