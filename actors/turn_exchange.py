"""The rollout actor's end of an engine's sessions, below vLLM's `AsyncLLM`.

One message in each direction holds the turns of many sessions, where `AsyncLLM` would send, wake and build objects for each
token. It uses parts of vLLM's client that exist in vLLM 0.32.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vllm import SamplingParams
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.v1.engine import EngineCoreOutputs, EngineCoreRequestType
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from actors.turn_messages import BegunTurn, WrittenPart, begun_request, written_parts


class Reader(Protocol):
    """A session, which receives the tokens that the engine has written for it."""

    def receive(self, part: WrittenPart) -> None:
        """Take the next tokens of the turn."""
        ...

    def fail(self, error: Exception) -> None:
        """Take the error that ended the session."""
        ...


class TurnExchange:
    """Sends the turns that sessions begin to an engine, and hands each session the tokens that the engine has written."""

    def __init__(self, llm: AsyncLLM) -> None:
        self._llm: Any = llm
        self._readers: dict[str, Reader] = {}
        self._begun: list[BegunTurn] = []
        # Before the client's first call: its reading task keeps the queue that it finds then.
        self._llm.engine_core.outputs_queue = _OutputQueue(self._receive, self._fail)

    def start(
        self,
        reader: Reader,
        rollout_id: str,
        tokens: Sequence[int],
        params: SamplingParams,
        salt: str,
        age_rank: int,
        adapter: LoRARequest | None = None,
    ) -> str:
        """Start a request that begins with a turn over `tokens`; return its id. Raises vLLM's error if it is refused."""
        request = self._llm.input_processor.process_inputs(
            rollout_id,
            tokens_input(list(tokens), cache_salt=salt),
            params,
            supported_tasks=("generate",),
            lora_request=adapter,
            priority=age_rank,
            resumable=True,
        )
        self._llm.input_processor.assign_request_id(request)
        self._readers[request.request_id] = reader
        self._send(EngineCoreRequestType.ADD, request)
        self._llm._run_output_handler()  # of vLLM's statistics
        self._llm.engine_core._ensure_output_queue_task()
        return request.request_id

    def begin(self, turn: BegunTurn) -> None:
        """Begin a turn of an open request, in one message with those that begin in this iteration of the event loop."""
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._flush)
        self._begun.append(turn)

    def close(self, request_id: str) -> None:
        """End a request; do nothing if it has ended."""
        if self._readers.pop(request_id, None):
            self._send(EngineCoreRequestType.ABORT, [request_id])

    def _flush(self) -> None:
        turns, self._begun = self._begun, []
        self._send(EngineCoreRequestType.ADD, begun_request(turns))

    def _send(self, kind: EngineCoreRequestType, content: Any) -> None:
        """Send a message, or fail all sessions if the engine is dead."""
        try:
            self._llm.engine_core._send_input(kind, content)  # the socket queues it, so that nothing need be awaited
        except EngineDeadError as error:
            self._fail(error)

    def _receive(self, outputs: EngineCoreOutputs) -> None:
        """Hand the parts in `outputs` to their sessions and remove them from it."""
        others = []
        for output in outputs.outputs:
            if (parts := written_parts(output)) is not None:
                for part in parts:
                    if reader := self._readers.get(part.request_id):  # else its rollout was cancelled
                        reader.receive(part)
            elif reader := self._readers.pop(output.request_id, None):
                reader.fail(RuntimeError(f"the engine ended the request ({output.finish_reason})"))
            else:
                others.append(output)
        outputs.outputs = others

    def _fail(self, error: Exception) -> None:
        readers, self._readers = self._readers, {}
        for reader in readers.values():
            reader.fail(error)


class _OutputQueue(asyncio.Queue[EngineCoreOutputs | Exception]):
    """A client's queue of outputs. `receive` removes the outputs of sessions from it; `fail` is called with an error."""

    def __init__(self, receive: Callable[[EngineCoreOutputs], None], fail: Callable[[Exception], None]) -> None:
        super().__init__()
        self._receive, self._fail = receive, fail

    def put_nowait(self, item: EngineCoreOutputs | Exception) -> None:
        """Add what `receive` leaves of the outputs, or an error."""
        if isinstance(item, Exception):
            self._fail(item)
        else:
            self._receive(item)
            if not (item.outputs or item.scheduler_stats):
                return
        super().put_nowait(item)
