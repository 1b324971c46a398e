"""Turns of many sessions in one message: what travels, who receives it, and what an engine's death does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import zmq.asyncio
from hypothesis import given
from hypothesis import strategies as st
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, EngineCoreRequest, EngineCoreRequestType, FinishReason
from vllm.v1.engine.core import EngineCoreProc
from vllm.v1.engine.core_client import AsyncMPClient, BackgroundResources
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.request import Request
from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder

from actors.engine_session import EngineSession, link
from actors.turn_exchange import TurnExchange
from actors.turn_messages import BegunTurn, WrittenPart, begun_request, begun_turns, written_output, written_parts
from tandem.cogeneration import AuthorFailed, PartnerFailed, Tokens
from tandem.config.rollout import SamplingConfig
from tandem.rollout import StopReason
from tests.support.fake_engine import EOS, PEN, FakeEngine, run_on_fake_engine

pytestmark = pytest.mark.seconds  # it imports vLLM

STOP, LENGTH = int(FinishReason.STOP), int(FinishReason.LENGTH)

ids = st.lists(st.integers(0, 2**20), min_size=1, max_size=5)
floats = st.floats(width=32, allow_nan=False)
states = st.tuples(st.integers(0, 2**20), st.integers(0, 2**31), st.booleans())
begun = st.builds(BegunTurn, st.text(max_size=9), ids, st.integers(1, 2**20), states, st.booleans(), st.text(max_size=9))
written = st.builds(
    WrittenPart, st.text(max_size=9), ids, st.lists(floats, max_size=5), st.none() | st.integers(0, 4), st.booleans()
)


def sent(message: Any, kind: type) -> Any:
    """Return `message` as vLLM's client and engine send it to each other."""
    return MsgpackDecoder(kind).decode([bytes(frame) for frame in MsgpackEncoder().encode(message)])


@given(turns=st.lists(begun, min_size=1, max_size=4))
def test_turns_survive_the_way_to_the_engine(turns: list[BegunTurn]) -> None:
    request = sent(begun_request(turns), EngineCoreRequest)
    assert begun_turns(Request.from_engine_core_request(request, None)) == turns


@given(parts=st.lists(written, min_size=1, max_size=4))
def test_parts_survive_the_way_back(parts: list[WrittenPart]) -> None:
    (output,) = sent(EngineCoreOutputs(outputs=[written_output(parts)]), EngineCoreOutputs).outputs
    assert written_parts(output) == parts


def test_other_requests_and_outputs_hold_no_turns() -> None:
    request = begun_request([])
    request.request_id = "another"
    assert begun_turns(Request.from_engine_core_request(request, None)) is None
    assert written_parts(EngineCoreOutput("another", [1])) is None


def test_turns_that_begin_together_travel_in_one_message() -> None:
    async def test(engine: FakeEngine) -> None:
        sessions = [engine.session(name) for name in "ab"]
        engine.client.write(WrittenPart("a", [5, 6], [-1.0, -2.0], STOP), WrittenPart("b", [7], [-3.0], LENGTH))
        read = [await session.read() for session in sessions]
        assert [(tokens.ids, tokens.logprobs, tokens.versions) for tokens in read] == [
            ([5, 6], [-1.0, -2.0], [3, 3]),
            ([7], [-3.0], [3]),
        ]
        assert [session.stop_reason for session in sessions] == [StopReason.HANDOFF, StopReason.LENGTH]
        engine.client.sent.clear()
        for session in sessions:
            session.begin_turn([8], PEN._replace(position=4, gap=2, line_ended=True), 6)
        await asyncio.sleep(0)
        ((kind, request),) = engine.client.sent
        assert kind is EngineCoreRequestType.ADD
        turns = begun_turns(Request.from_engine_core_request(request, None))
        assert turns == [BegunTurn("a", [8], 6, (4, 2, True)), BegunTurn("b", [8], 6, (4, 2, True))]

    run_on_fake_engine(test)


def test_a_turn_may_come_in_parts_and_each_keeps_its_version() -> None:
    async def test(engine: FakeEngine) -> None:
        session = engine.session("a")
        engine.client.write(WrittenPart("a", [5], [-1.0], None))
        engine.version = 4
        engine.client.write(WrittenPart("a", [EOS], [-2.0], STOP))
        tokens = await session.read()
        assert (tokens.ids, tokens.versions, session.stop_reason) == ([5, EOS], [3, 4], StopReason.EOS)
        with pytest.raises(RuntimeError, match="rollout a: the engine ended a turn that the schedule continues"):
            await session.read()

    run_on_fake_engine(test)


def test_an_engine_that_writes_outside_a_turn_is_an_error() -> None:
    async def test(engine: FakeEngine) -> None:
        session = engine.session("a")
        engine.client.write(WrittenPart("a", [5], [-1.0], STOP), WrittenPart("a", [6], [-1.0], None))
        assert (await session.read()).ids == [5]
        with pytest.raises(RuntimeError, match="rollout a: the engine continued after the pen had passed"):
            session.begin_turn([7], PEN, 5)

    run_on_fake_engine(test)


def test_a_request_that_vllm_ends_fails_its_session_alone() -> None:
    async def test(engine: FakeEngine) -> None:
        first, second = (engine.session(name) for name in "ab")
        engine.client.outputs_queue.put_nowait(
            EngineCoreOutputs(outputs=[EngineCoreOutput("a", [], finish_reason=FinishReason.ABORT)])
        )
        with pytest.raises(RuntimeError, match="rollout a: the engine ended the request \\(abort\\)"):
            await first.read()
        engine.client.write(WrittenPart("b", [5], [-1.0], STOP))
        assert (await second.read()).ids == [5]

    run_on_fake_engine(test)


def test_a_closed_session_aborts_its_request_once_and_drops_what_still_comes() -> None:
    async def test(engine: FakeEngine) -> None:
        session = engine.session("a")
        for _ in range(2):
            await session.close()
        assert engine.client.sent[1:] == [(EngineCoreRequestType.ABORT, ["a"])]
        engine.client.write(WrittenPart("a", [5], [-1.0], STOP))
        assert engine.client.outputs_queue.empty()

    run_on_fake_engine(test)


def test_outputs_of_other_requests_and_statistics_reach_vllm() -> None:
    async def test(engine: FakeEngine) -> None:
        engine.session("a")
        other: Any = EngineCoreOutputs(outputs=[EngineCoreOutput("other", [1]), written_output([])], scheduler_stats=None)
        engine.client.outputs_queue.put_nowait(other)
        assert [output.request_id for output in engine.client.outputs_queue.get_nowait().outputs] == ["other"]

    run_on_fake_engine(test)


def test_the_death_of_an_engine_fails_every_session() -> None:
    async def test(engine: FakeEngine) -> None:
        sessions = [engine.session(name) for name in "ab"]
        engine.client.resources.engine_dead = True
        reading = [asyncio.create_task(session.read()) for session in sessions]
        await asyncio.sleep(0)
        engine.client.outputs_queue.put_nowait(EngineDeadError())
        for task in reading:
            with pytest.raises(AuthorFailed, match="its engine died"):
                await task
        for session in sessions:
            await session.close()

    run_on_fake_engine(test)


def test_a_partner_that_dies_with_the_turn_it_passed_fails_the_session_that_waits_for_it() -> None:
    async def test(engine: FakeEngine) -> None:
        partner = FakeEngine()
        first, second = sessions = partner.session("a"), EngineSession(engine, "a", SamplingConfig(), None)
        link(dict(enumerate(sessions)))
        partner.client.write(WrittenPart("a", [5], [-1.0], STOP))
        assert (await first.read()).ids == [5]
        second.begin_turn([1, 2, 5], PEN, 9)
        engine.client.write(WrittenPart("a", [6], [-1.0], STOP, passed=True))
        assert (await second.read()).ids == [6]
        first.begin_turn([6], PEN, 8)
        assert len(partner.client.sent) == 1, "the engine has passed the turn"
        partner.client.write(WrittenPart("a", [7], [-1.0], STOP, passed=True))
        assert (await first.read()).ids == [7]
        second.begin_turn([7], PEN, 7)
        reading = asyncio.create_task(second.read())
        await asyncio.sleep(0)
        partner.client.outputs_queue.put_nowait(EngineDeadError())
        with pytest.raises(PartnerFailed, match="^its engine died"):
            await reading

    run_on_fake_engine(test)


@pytest.mark.parametrize("collects", [True, False])
def test_tokens_may_arrive_before_those_of_the_turn_before(collects: bool) -> None:
    async def test(engine: FakeEngine) -> None:
        partner = FakeEngine()
        engine.spec.collects_reports = partner.spec.collects_reports = collects
        first, second = sessions = partner.session("a"), engine.session("a")
        link(dict(enumerate(sessions)))
        engine.client.write(WrittenPart("a", [6], [-1.0], None), WrittenPart("a", [7], [-1.0], STOP, passed=True))
        engine.client.write(WrittenPart("a", [9], [-1.0], LENGTH))
        partner.client.write(WrittenPart("a", [8], [-1.0], STOP, passed=True))
        tokens = await second.read()
        if collects:
            assert (tokens.ids, tokens.authors) == ([6, 7, 8, 9], [1, 1, 0, 1])
        else:
            assert tokens.ids == [6, 7]
            first._writes = False
            first.begin_turn([6, 7], PEN, 8)
            assert (await first.read()).ids == [8]
            second.begin_turn([8], PEN, 7)
            assert (await second.read()).ids == [9]
        assert second.stop_reason is StopReason.LENGTH

    run_on_fake_engine(test)


def test_engine_that_ends_its_partners_turn_early_is_an_error() -> None:
    async def test(engine: FakeEngine) -> None:
        partner = FakeEngine()
        first, second = sessions = partner.session("a"), engine.session("a")
        link(dict(enumerate(sessions)))
        first._writes = False
        engine.client.write(WrittenPart("a", [7], [-1.0], STOP, passed=True))
        partner.client.write(WrittenPart("a", [8], [-1.0], LENGTH))
        assert (await second.read()).authors == [1, 0]
        with pytest.raises(RuntimeError, match="rollout a: the engine ended a turn that the schedule continues"):
            first.begin_turn([], PEN, 5)

    run_on_fake_engine(test)


@given(turns=st.integers(1, 300), data=st.data(), collects=st.booleans())
def test_reader_gets_every_turn_in_whatever_order_the_engines_report(turns: int, data: st.DataObject, collects: bool) -> None:
    """The engines pass the pen after all turns but the first, which the rollout actor passes, and the last."""
    first = data.draw(st.lists(st.booleans(), min_size=turns, max_size=turns), label="whether the first engine reports next")
    bundle = data.draw(st.integers(1, 40), label="parts in a message")

    async def test(engine: FakeEngine) -> None:
        engines = [engine, FakeEngine()]
        for each in engines:
            each.spec.collects_reports = collects
        sessions = [EngineSession(each, "a", SamplingConfig(), None) for each in engines]
        link(dict(enumerate(sessions)))
        parts = [WrittenPart("a", [turn], [-1.0], STOP, passed=0 < turn < turns - 1) for turn in range(turns)]
        reports = [parts[::2], parts[1::2]]

        async def report() -> None:
            for number in (*(0 if is_first else 1 for is_first in first), *[0, 1] * turns):
                engines[number].client.write(*reports[number][:bundle])
                del reports[number][:bundle]
                await asyncio.sleep(0)

        async def read() -> list[int]:
            found = Tokens()
            while len(found) < turns:
                session = sessions[len(found) % 2]
                session.begin_turn([len(found)], PEN, 10)
                found += await session.read()
            assert found.authors == [turn % 2 for turn in range(turns)]
            return found.ids

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        engines[0].client.write(reports[0].pop(0))
        while turns > 1 and not engines[1].client.sent:  # the rollout actor begins the second turn; then the engines are free
            await asyncio.sleep(0)
        await report()
        assert await asyncio.wait_for(reading, 5) == list(range(turns))

    run_on_fake_engine(test)


def test_a_turn_that_begins_after_the_death_of_the_engine_fails() -> None:
    async def test(engine: FakeEngine) -> None:
        session = engine.session("a")
        engine.client.write(WrittenPart("a", [5], [-1.0], STOP))
        await session.read()
        engine.client.resources.engine_dead = True
        session.begin_turn([6], PEN, 5)
        for late in (session, engine.session("b")):
            with pytest.raises(AuthorFailed, match="its engine died"):
                await late.read()
            await late.close()

    run_on_fake_engine(test)


def test_turns_pass_the_sockets_of_vllms_client_and_its_reader_reports_the_engines_death() -> None:
    # vLLM's client without the start of an engine: its own reading task, sockets and encoding.
    async def test(engine: FakeEngine) -> None:
        context = zmq.asyncio.Context()
        inputs, outputs = context.socket(zmq.ROUTER), context.socket(zmq.PULL)
        ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (inputs, outputs)]
        client: Any = AsyncMPClient.__new__(AsyncMPClient)
        client.resources = BackgroundResources(ctx=context, input_socket=inputs, output_socket=outputs)
        client.input_socket, client.core_engine = inputs, b"e"
        client.encoder, client.decoder, client.utility_results = MsgpackEncoder(), MsgpackDecoder(EngineCoreOutputs), {}
        core_in, core_out = context.socket(zmq.DEALER), context.socket(zmq.PUSH)
        core_in.identity = b"e"
        for socket, port in zip((core_in, core_out), ports, strict=True):
            socket.connect(f"tcp://127.0.0.1:{port}")
        await core_in.send(b"ready")
        assert await inputs.recv_multipart() == [b"e", b"ready"]

        engine.llm.engine_core = client
        engine.exchange = TurnExchange(engine.llm)
        session = engine.session("a")
        assert (await core_in.recv_multipart())[0] == EngineCoreRequestType.ADD.value
        await core_out.send_multipart(
            MsgpackEncoder().encode(EngineCoreOutputs(outputs=[written_output([WrittenPart("a", [5], [-1.0], STOP)])]))
        )
        assert (await session.read()).ids == [5]
        session.begin_turn([6], PEN, 3)
        kind, *frames = await core_in.recv_multipart()
        request = Request.from_engine_core_request(MsgpackDecoder(EngineCoreRequest).decode(frames), None)
        assert (kind, begun_turns(request)) == (EngineCoreRequestType.ADD.value, [BegunTurn("a", [6], 3, (0, 0, False))])
        await core_out.send(EngineCoreProc.ENGINE_CORE_DEAD)
        with pytest.raises(AuthorFailed, match="its engine died"):
            await session.read()
        client.resources.output_queue_task.cancel()
        context.destroy(linger=0)

    asyncio.run(asyncio.wait_for(test(FakeEngine()), timeout=60))
