"""Tests of a junior behind an API: its text in the senior's tokens, and a server that is absent, refuses, is busy or fails."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI
from openai.types import Completion, CompletionChoice

from actors.black_box import BlackBoxSession, check_answers, client_settings, unit_pattern
from tandem.cogeneration import Limits, Session, Token, cogenerate
from tandem.config.black_box import BlackBox
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import ConfigError
from tandem.replay import draws_of
from tandem.rollout import BASE_VERSION, JUNIOR, SENIOR, EndReason, Rollout, StopReason
from tandem.runtime.errors import RunError
from tandem.schedule import BEGINS_WORD, ENDS_STEP, JUNIOR_ALONE, WHOLE_TEXT, Pen, Schedule, boundary_table
from tests.support.two_tokenizers import TOKENIZERS, texts, vocabulary

pytestmark = pytest.mark.seconds

TOKENIZER, WORDS = TOKENIZERS["arith"](), vocabulary("arith")
EOS = cast(int, TOKENIZER.eos_token_id)
PROMPT = TOKENIZER.encode("<|user|>Mia has 5 pens.<|assistant|>")
BOX = BlackBox("http://127.0.0.1:1/v1", "small")
TABLE = boundary_table(TOKENIZER, "word", len(TOKENIZER)) | ENDS_STEP * boundary_table(TOKENIZER, "newline", len(TOKENIZER))
STEPS = Schedule(max_gap_tokens=WHOLE_TEXT, alternates=True, boundary=ENDS_STEP)
SCHEDULES = st.one_of(
    st.builds(
        Schedule,
        st.floats(0, 1),
        st.sampled_from([3, WHOLE_TEXT]),
        alternates=st.booleans(),
        boundary=st.sampled_from([BEGINS_WORD, ENDS_STEP]),
    ),
    st.sampled_from([STEPS, JUNIOR_ALONE]),
)


@dataclass
class Senior:
    """A simulated senior, which repeats `script` and follows the schedule."""

    script: Sequence[int]
    written: int = 0
    stop_reason: StopReason | None = None

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        self.pen, self.left = pen, budget

    async def read(self) -> list[Token]:
        token = self.script[self.written % len(self.script)]
        self.written += 1
        return [Token(token, -1.0, BASE_VERSION)]

    async def close(self) -> None:
        pass


@dataclass
class Client:
    """A simulated API, which answers each request with the next of `scripts`, in pieces; the last one is repeated."""

    scripts: Sequence[str]
    piece: int = 3
    reason: str = "stop"
    prompts: list[str] = field(default_factory=list)
    seeds: list[Any] = field(default_factory=list)
    open: int = 0

    @property
    def completions(self) -> Client:
        return self

    async def create(self, *, prompt: str, seed: Any, max_tokens: int, **_: Any) -> _Stream:
        assert not self.open and max_tokens > 0, "one request at a time"
        self.open += 1
        text = self.scripts[min(len(self.prompts), len(self.scripts) - 1)]
        self.prompts.append(prompt)
        self.seeds.append(seed)
        return _Stream(self, [text[i : i + self.piece] for i in range(0, len(text), self.piece)])


class _Stream:
    def __init__(self, client: Client, pieces: list[str]) -> None:
        self._client, self._pieces = client, pieces

    async def __anext__(self) -> Completion:
        await asyncio.sleep(0)
        text = self._pieces.pop(0) if self._pieces else ""
        reason: Any = None if self._pieces else self._client.reason
        choice = CompletionChoice.construct(finish_reason=reason, index=0, text=text)
        return Completion(id="", choices=[choice], created=0, model="small", object="text_completion")

    async def close(self) -> None:
        self._client.open -= 1


def write(client: Any, schedule: Schedule, script: str, **options: Any) -> Rollout:
    return asyncio.run(cowrite(client, schedule, script, **options))


async def cowrite(
    client: Any, schedule: Schedule, script: str, *, tokens: int = 60, seed: int = 1, noise: int | None = None
) -> Rollout:
    junior = BlackBoxSession(
        client,
        BOX,
        WORDS,
        EOS,
        prompt=TOKENIZER.decode(PROMPT),
        prompt_tokens=len(PROMPT),
        unit=unit_pattern(schedule, "\n"),
        sampling=SamplingConfig(),
        seed=noise,
    )
    sessions: dict[int, Session] = {SENIOR: Senior(WORDS.encode(script.encode())), JUNIOR: junior}
    limits = Limits(tokens, 10_000, frozenset({EOS}))
    return await cogenerate("r", PROMPT, sessions, schedule, TABLE, seed, limits)


def junior_turns(rollout: Rollout) -> list[bytes]:
    return [WORDS.decode(rollout.token_ids[t.start : t.stop].tolist()) for t in rollout.turns if t.author == JUNIOR]


@given(
    st.lists(texts, min_size=1, max_size=4), texts, SCHEDULES, st.integers(1, 9), st.integers(1, 80), st.integers(0, 2**32 - 1)
)
def test_text_is_what_the_api_wrote(
    scripts: list[str], script: str, schedule: Schedule, piece: int, tokens: int, seed: int
) -> None:
    client = Client(scripts, piece)
    rollout = write(client, schedule, script, tokens=tokens, seed=seed)
    assert draws_of(rollout, schedule, TABLE) is not None and client.open == 0
    turns = junior_turns(rollout)
    assert len(turns) == len(client.prompts)
    starts = [turn.start for turn in rollout.turns if turn.author == JUNIOR]
    for index, (start, turn, prompt) in enumerate(zip(starts, turns, client.prompts, strict=True)):
        before = TOKENIZER.decode(PROMPT).encode() + WORDS.decode(rollout.token_ids[:start].tolist())
        assert prompt == before.decode(errors="replace")
        assert scripts[min(index, len(scripts) - 1)].encode().startswith(turn)


def test_steps_are_whole_and_discard_what_follows() -> None:
    client = Client(["One 1.\nTwo", "", "Three."])
    rollout = write(client, STEPS, "Add 5\n", tokens=60)
    assert junior_turns(rollout) == [b"One 1.\n", b""] and rollout.end == EndReason.EOS
    assert client.prompts[1].endswith("Add 5\nOne 1.\nAdd 5\n")


def test_turn_continues_after_limit_of_request() -> None:
    client = Client([" one tw", "o three\n four"], reason="length")
    rollout = write(client, STEPS, "Add 5\n", tokens=40)
    assert junior_turns(rollout)[0] == b" one two three\n"
    with pytest.raises(RunError, match=r"^the junior small at http://127.0.0.1:1/v1 wrote nothing"):
        write(Client([""], reason="length"), JUNIOR_ALONE, "x")


def test_turns_of_a_seed_differ_in_their_noise() -> None:
    client = Client(["Add\n"])
    write(client, STEPS, "Add 5\n", tokens=40, noise=2**32 - 1)
    assert len(set(client.seeds)) == len(client.seeds) > 2 and max(client.seeds) < 2**32


# A server


class Api:
    """A server that makes each answer with the next of `answers`; the last one is repeated."""

    def __init__(self, url: str, answers: list[Callable[[], Response]]) -> None:
        self.url, self.answers = url, answers

    @property
    def box(self) -> BlackBox:
        return BlackBox(f"{self.url}/v1", "small")

    def write(self) -> Rollout:
        async def written() -> Rollout:
            async with AsyncOpenAI(**client_settings(self.box)) as client:
                return await cowrite(client, STEPS, "Add 5\n", tokens=40)

        return asyncio.run(written())


@pytest.fixture
def api() -> Iterator[Api]:
    app = FastAPI()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    served = Api(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", [])

    @app.post("/v1/completions")
    async def complete() -> Response:
        return (served.answers.pop(0) if len(served.answers) > 1 else served.answers[0])()

    yield served
    server.should_exit = True
    thread.join()


def refusal(status: int, message: str) -> Callable[[], Response]:
    return partial(JSONResponse, {"error": {"message": message}}, status, {"retry-after-ms": "1"})


def stream(*pieces: str, reason: str | None = "stop") -> Callable[[], Response]:
    """Return what makes a stream of `pieces`; without a `reason` it breaks after them."""

    async def sent() -> AsyncIterator[str]:
        for index, piece in enumerate(pieces):
            end = reason if index == len(pieces) - 1 else None
            yield f"data: {json.dumps({'choices': [{'index': 0, 'text': piece, 'finish_reason': end}]})}\n\n"
        if reason is None:
            raise ConnectionError
        yield "data: [DONE]\n\n"

    return lambda: StreamingResponse(sent(), media_type="text/event-stream")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refusal(401, "bad key"), r"the server refuses the key \(bad key\); set TANDEM_JUNIOR_API_KEY"),
        (refusal(404, "no model small"), r"the server has no such model, or no http://.*/v1/completions \(no model small\)"),
        (refusal(400, "no completions"), r"the server completes no text \(no completions\); name another"),
        (
            partial(Response, "<html>", media_type="text/html"),
            "what answers there is no OpenAI-compatible API; correct the address",
        ),
    ],
    ids=["key", "model", "request", "page"],
)
def test_useless_server_is_refused_before_the_start(api: Api, answer: Callable[[], Response], message: str) -> None:
    api.answers = [answer]
    with pytest.raises(ConfigError, match=rf"^junior\[0\]=openai:{api.url}/v1,small: {message}"):
        check_answers(api.box)


def test_absent_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.black_box.RETRIES", 0)
    with pytest.raises(ConfigError, match=r"^junior\[0\]=openai:http://127.0.0.1:1/v1,small: no server answers \(.*; start it"):
        check_answers(BOX)


def test_busy_and_failing_server_is_asked_again(api: Api) -> None:
    api.answers = [
        refusal(429, "busy"),
        refusal(500, "ill"),
        stream("Add 5", "\nlost", reason=None),
        stream("Add", " 5\n Subtract", reason=None),
        stream("Add 5\n"),
    ]
    assert junior_turns(api.write())[0] == b"Add 5\n"


def test_server_that_keeps_failing_ends_the_text(api: Api) -> None:
    api.answers = [stream("Add", reason=None)]
    with pytest.raises(RunError, match=r"^the junior small at http://127.0.0.1:\d+/v1 failed: "):
        api.write()
