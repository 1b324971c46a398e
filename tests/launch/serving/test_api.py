"""The API with texts that a function writes in the place of engines: what is refused, and what is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any, cast

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.admission import KVUse
from actors.group_task import GroupTask
from actors.replica import ReplicaFailed
from actors.rollout_pool import RolloutPool
from actors.token_stream import WrittenTokens
from launch.serving.api import CHAT, COMPLETIONS, PATHS, create_app
from launch.serving.gate import Gate
from launch.serving.schedules import with_schedules
from launch.serving.service import Service
from tandem.authors import Authors, run_boundaries
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config
from tandem.rollout import Problem, Prompt, Rollout
from tandem.schedule import Schedule
from tests.support.builders import scheduled_rollout

PROMPT = "<|user|>Mia has 46 pens. eats 3, sells 3. How many?<|assistant|>"
ASK: dict[str, Any] = {"model": "team", "prompt": PROMPT}
KEY = "secret"
NO_PROMPT = Prompt(Problem("", "", ""), ())


class WrittenByChance:
    """A pool whose texts follow from their seeds; `failing` texts fail after that many parts."""

    running = 1

    def __init__(self, config: Config, authors: Authors) -> None:
        self._authors, self._boundaries = authors, run_boundaries(config, authors.tokenizer, authors.vocabulary)
        self.failing: int | None = None
        self.open = 0

    def streaming(self) -> WrittenByChance:
        return self

    def kv_use(self) -> dict[str, KVUse]:
        return {"senior": KVUse(self.open / 100, 1)}

    def rollout(self, task: GroupTask) -> Rollout:
        """Return the rollout of the one seed of `task`."""
        random = Random(task.seeds[0])
        tokens = [random.randrange(5, 350) for _ in range(random.randrange(1, task.sampling.max_tokens + 1))]
        return scheduled_rollout(task.schedule, self._boundaries, task.seeds[0], tokens)

    async def stream(self, task: GroupTask) -> AsyncGenerator[WrittenTokens | Rollout, None]:
        rollout, at = self.rollout(task), 0
        self.open += 1
        try:
            for parts, turn in enumerate(rollout.turns):
                if parts == self.failing:
                    raise ReplicaFailed("died")
                await asyncio.sleep(0)
                ids, logprobs = rollout.token_ids[turn.start : turn.stop], rollout.logprobs[turn.start : turn.stop]
                yield WrittenTokens(rollout.id, turn.author, ids.tolist(), logprobs.tolist())
                at = turn.stop
            assert at == len(rollout)
            yield rollout
        finally:
            self.open -= 1


class Api:
    """The application with its gate, called without a network."""

    def __init__(self, config: Config, authors: Authors, key: str = "") -> None:
        config = with_schedules(config, authors)
        self.pool = WrittenByChance(config, authors)
        self.service = Service(config, authors, cast(RolloutPool, self.pool))
        self.app = Gate(create_app(self.service), key, 1 << 20, self.service.metrics, frozenset(PATHS))

    def call(self, test: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        """Return the result of `test` with a client."""

        async def main() -> Any:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                return await test(client)

        return asyncio.run(main())

    def post(self, path: str, **request: Any) -> httpx.Response:
        """Return the answer to one request."""
        return self.call(lambda client: client.post(path, **request))


@pytest.fixture(scope="module")
def api(config: Config, authors: Authors) -> Api:
    return Api(config, authors)


def get(api: Api, path: str, **headers: str) -> httpx.Response:
    """Return the answer to a request for `path`."""

    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get(path, headers={key.encode(): value.encode() for key, value in headers.items()})

    return api.call(ask)


def test_only_the_senior_is_served_where_the_junior_drafts(config: Config, authors: Authors) -> None:
    api = Api(replace(config, speculative=4), authors)
    assert [model["id"] for model in get(api, "/v1/models").json()["data"]] == ["senior"]
    error = api.post(COMPLETIONS, json=ASK).json()["error"]
    assert error["message"].endswith("no model 'team'; choose senior, or start the server without speculative=4")
    assert api.post(COMPLETIONS, json=ASK | {"model": "senior", "max_tokens": 5}).status_code == 200


def test_settings_of_the_evaluation_refuse_no_request(config: Config, authors: Authors) -> None:
    evaluation = replace(config.eval, measures=["solo", "legibility", "takeover"], samples=2, scored_samples=2, prefixes=[0.5])
    api = Api(replace(config, eval=evaluation), authors)
    for schedule in ({}, {"schedule": "step"}, {"schedule": {"name": "chunk", "chunk_tokens": 4}}):
        answer = api.post(COMPLETIONS, json=ASK | {"max_tokens": 5} | schedule)
        assert answer.status_code == 200, answer.text
    error = api.post(COMPLETIONS, json=ASK | {"schedule": {"chunk_tokens": 4}}).json()["error"]
    assert error["message"] == "schedule.chunk_tokens=4: it has no effect without name=chunk; set that, or leave it out"


def task_of(seed: int) -> GroupTask:
    """Return the task of the request for `team` with this seed and at most 40 tokens."""
    return GroupTask(NO_PROMPT, ("",), (seed,), Schedule(0.5, 32), SamplingConfig(max_tokens=40))


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the events of a stream, which ends as it must."""
    *lines, done = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert done == "[DONE]"
    return [json.loads(line) for line in lines]


@settings(max_examples=20)
@given(seeds=st.lists(st.integers(0, 2**32 - 3), min_size=1, max_size=8), stream=st.booleans())
def test_concurrent_texts_are_not_mixed_up(api: Api, authors: Authors, seeds: list[int], stream: bool) -> None:
    async def all_at_once(client: httpx.AsyncClient) -> list[httpx.Response]:
        bodies = [ASK | {"seed": seed, "n": 2, "max_tokens": 40, "stream": stream} for seed in seeds]
        return await asyncio.gather(*(client.post(COMPLETIONS, json=body) for body in bodies))

    for seed, answer in zip(seeds, api.call(all_at_once), strict=True):
        texts, tokens, ends = ["", ""], [[], []], [None, None]  # type: ignore[var-annotated]
        for body in events(answer) if stream else [answer.json()]:
            for choice in body["choices"]:
                index = choice["index"]
                texts[index] += choice["text"]
                tokens[index] += [(run["author"], token) for run in choice["authors"] for token in run["token_ids"]]
                ends[index] = choice["finish_reason"]
        for index in range(2):
            rollout = api.pool.rollout(task_of(seed + index))
            assert texts[index] == authors.tokenizer.decode(rollout.token_ids, skip_special_tokens=True)
            names = ["senior" if author else "junior" for author in rollout.authorship]
            assert tokens[index] == [*zip(names, rollout.token_ids.tolist(), strict=True)]
        assert ends == ["stop", "stop"]
    assert api.pool.open == 0


@pytest.mark.parametrize(
    ("change", "message", "param"),
    [
        ({"model": "mine"}, "model: there is no model 'mine'; choose senior or junior or team", "model"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 1", "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer", "max_tokens"),
        ({"max_tokens": 10**6}, "max_tokens: the longest prompt leaves room for ", "max_tokens"),
        ({"prompt": PROMPT * 100}, "max_tokens: the longest prompt leaves room for 0 of the ", "max_tokens"),
        ({"prompt": [10**6]}, "prompt: 1000000 is no token; the ids are below ", "prompt"),
        ({"prompt": ""}, "prompt: the prompt is empty; give at least one token", "prompt"),
        ({"temperature": 0.001}, "temperature: Value error, give 0, or at least 0.01", "temperature"),
        ({"n": 257}, "n: the request asks for 257 texts; the server writes 256 (serve.max_texts)", "n"),
        ({"sheduel": "word"}, "sheduel: this server does not support it; leave it out", "sheduel"),
        ({"model": "senior", "schedule": "word"}, "schedule: only the model team takes it; leave it out", "schedule"),
        (
            {"schedule": {"prob_senior": 2}},
            "schedule.prob_senior=2.0: give a number from 0 to 1",
            "schedule",
        ),
        (
            {"schedule": {"chunk_tokens": 4}},
            "schedule.chunk_tokens=4: it has no effect without name=chunk; set that, or leave it out",
            "schedule",
        ),
        (
            {"schedule": {"anneal": "linear"}},
            "schedule.anneal: there is no such setting; choose name or prob_senior or max_gap_tokens or ",
            "schedule",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_value_is_named(api: Api, change: dict[str, Any], message: str, param: str) -> None:
    for stream in (False, True):
        answer = api.post(COMPLETIONS, json=ASK | {"stream": stream} | change)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["message"].startswith(message)
        assert error["param"] == param
        assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe{}", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"model": "team", "messages": [], "prompt": 1}', 400),
        (b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}', 400),
        (b'{"model": "team", "\\ud800": 1, "messages": [{"role": "user", "content": "x"}]}', 400),
        (b'{"model": "team", "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "x"}]}', 400),
        (b'{"model": "team", "messages": [{"role": "assistant", "content": "x"}]}', 400),
        (b'{"model": "team", "seed": NaN, "messages": [{"role": "user", "content": "x"}]}', 400),
        (b"[" * 100_000, 400),
        (b" " * 10_000_000, 413),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else None,
)
def test_garbage_is_refused(api: Api, content: bytes, status: int) -> None:
    async def parts() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(content), 1 << 16):
            yield content[start : start + (1 << 16)]

    for body in (content, parts()):  # with its length, and without
        answer = api.post(CHAT, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    "model",
    "prompt",
    "messages",
    "n",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "stop",
    "stream",
    "schedule",
)


@settings(max_examples=150)
@given(st.sampled_from([COMPLETIONS, CHAT]), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
def test_wrong_types_are_refused_or_answered(api: Api, path: str, change: dict[str, Any]) -> None:
    asked = {"model": "team", "max_tokens": 4, "seed": 1} | change
    asked |= {"prompt": PROMPT} if path == COMPLETIONS else {"messages": [{"role": "user", "content": "x"}]}
    answer = api.post(path, content=json.dumps(asked | change), headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400), answer.text
    assert api.pool.open == 0


def test_what_is_no_json_is_refused(api: Api) -> None:
    assert api.post(COMPLETIONS, data={"model": "team"}).status_code == 400
    assert api.post("/v1/embeddings", json={}).status_code == 404
    assert get(api, COMPLETIONS).status_code == 405


def test_failure_is_an_error_or_the_last_event(api: Api) -> None:
    seed = next(seed for seed in range(100) if len(api.pool.rollout(task_of(seed)).turns) > 2)
    asked = ASK | {"seed": seed, "max_tokens": 40}
    try:
        api.pool.failing = 0
        for stream in (False, True):
            answer = api.post(COMPLETIONS, json=asked | {"stream": stream})
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
        api.pool.failing = 2
        answer = api.post(COMPLETIONS, json=asked | {"stream": True})
        assert answer.status_code == 200
        last = answer.text.strip().split("\n\n")[-1].removeprefix("data: ")
        assert json.loads(last)["error"]["type"] == "server_error"
    finally:
        api.pool.failing = None
    assert api.pool.open == 0


def test_without_key_only_local_hosts_are_served(api: Api) -> None:
    for host in ("127.0.0.1:80", "[::1]:80", "localhost"):
        assert get(api, "/v1/models", host=host).status_code == 200
    for host in ("elsewhere.example", "", "["):
        assert get(api, "/v1/models", host=host).status_code == 403


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", KEY + "x", "Bearer sécret"])
def test_wrong_key_is_refused(config: Config, authors: Authors, given: str) -> None:
    api = Api(config, authors, KEY)
    header = {"authorization": given} if given else {}
    for path in ("/v1/models", "/metrics", "/openapi.json"):
        answer = get(api, path, **header)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
    assert get(api, "/health").status_code == 200
    assert get(api, "/v1/models", authorization=f"Bearer {KEY}").status_code == 200


def test_health_says_that_no_replica_runs(config: Config, authors: Authors) -> None:
    api = Api(config, authors)
    assert get(api, "/health").json() == {"status": "ok", "replicas": 1}
    api.pool.running = 0
    answer = get(api, "/health")
    assert answer.status_code == 503 and answer.json() == {"status": "restarting", "replicas": 0}


def test_metrics_count(config: Config, authors: Authors) -> None:
    api = Api(config, authors)
    answer = api.post(COMPLETIONS, json=ASK | {"seed": 1, "n": 3, "max_tokens": 40})
    api.post(COMPLETIONS, json={})
    api.post("/nowhere", json={})
    text = get(api, "/metrics").text
    assert 'tandem_requests_total{path="/v1/completions",status="200"} 1.0' in text
    assert 'tandem_requests_total{path="/v1/completions",status="400"} 1.0' in text
    assert 'tandem_requests_total{path="other",status="404"} 1.0' in text
    assert 'tandem_text_seconds_count{model="team"} 3.0' in text
    assert 'tandem_kv_cache_usage{engine="senior"} 0.0' in text
    assert 'tandem_preemptions_total{engine="senior"} 1.0' in text
    tokens = sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("tandem_tokens_total"))
    assert tokens == answer.json()["usage"]["completion_tokens"]
