"""The server as the `openai` package and plain HTTP see it, on real engines."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from actors.group_task import GroupTask
from tandem.config.rollout import SamplingConfig
from tandem.rollout import SENIOR, Prompt, Rollout
from tandem.schedule import JUNIOR_ALONE, SOLO, Schedule
from tests.support.engine_pair import EnginePair
from tests.support.server import ServerProcess, running_server

pytestmark = pytest.mark.engines
QUESTION = "Mia has 46 pens. eats 3, sells 3. How many?"
PROMPT = f"<|user|>{QUESTION}<|assistant|>"
CHAT: Any = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def runs(choice: Any) -> list[tuple[str, list[int]]]:
    """Return the authors of a choice with their tokens."""
    return [(run["author"], run["token_ids"]) for run in choice.authors]


def turns(rollout: Rollout) -> list[tuple[str, list[int]]]:
    """Return the same of a rollout."""
    names = {SENIOR: "senior"}
    return [(names.get(t.author, "junior"), rollout.token_ids[t.start : t.stop].tolist()) for t in rollout.turns]


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["senior", "junior", "team"]


def test_stream_is_the_whole_text(client: OpenAI) -> None:
    settings: Any = {"model": "team", "messages": CHAT, "seed": 5, "n": 2, "max_tokens": 40, "logprobs": True}
    whole = client.chat.completions.create(**settings)
    texts, authors, logprobs, ends = ["", ""], [[], []], [[], []], ["", ""]  # type: ignore[var-annotated]
    chunks = [*client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True})]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            authors[choice.index] += [(author, token) for author, run in runs(choice) for token in run]
            logprobs[choice.index] += [token.logprob for token in choice.logprobs.content]
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert len(chunks) > 6
    assert chunks[-1].usage == whole.usage
    for index, choice in enumerate(whole.choices):
        assert choice.message.content == texts[index]
        assert [(author, token) for author, run in runs(choice) for token in run] == authors[index]
        assert choice.logprobs is not None and choice.logprobs.content is not None
        assert [token.logprob for token in choice.logprobs.content] == pytest.approx(logprobs[index])
        assert choice.finish_reason == ends[index]


def test_chat_prompt_is_the_tokenizers(client: OpenAI) -> None:
    settings: Any = {"model": "senior", "temperature": 0, "max_tokens": 30}
    chat = client.chat.completions.create(messages=CHAT, **settings).choices[0].message.content
    assert chat == client.completions.create(prompt=PROMPT, **settings).choices[0].text
    assert "Start with" in (chat or "")


def test_stop_ends_text_before_it(client: OpenAI) -> None:
    settings: Any = {"model": "team", "prompt": PROMPT, "seed": 3, "max_tokens": 60}
    unstopped: Any = client.completions.create(**settings)
    whole = unstopped.choices[0].text
    stop = whole[10:13]
    for stream in (False, True):
        answer: Any = client.completions.create(**settings, stop=["never\0", stop], stream=stream)
        choices = [choice for part in (answer if stream else [answer]) for choice in part.choices]
        assert "".join(choice.text for choice in choices) == whole[: whole.find(stop)]
        assert choices[-1].finish_reason == "stop"


def test_unseeded_texts_differ_and_name_their_seed(client: OpenAI) -> None:
    answer = client.completions.create(model="team", prompt=[PROMPT, PROMPT], n=4, max_tokens=60)
    assert len({choice.text for choice in answer.choices}) > 1
    seeds = [choice.model_extra["seed"] for choice in answer.choices if choice.model_extra]
    assert len(set(seeds)) == 8


def test_errors_have_their_class(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="max_tokens: Input should be greater than or equal to 1"):
        client.completions.create(model="senior", prompt=PROMPT, max_tokens=-1)
    with pytest.raises(openai.BadRequestError, match="there is no model 'mine'"):
        client.chat.completions.create(model="mine", messages=CHAT, stream=True)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="senior", input="x")


def metric(server: ServerProcess, name: str) -> float:
    """Return the sum of a metric over its labels."""
    text = httpx.get(f"{server.url}/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.05)


def test_cancelled_requests_free_the_engines(server: ServerProcess) -> None:
    """A client disconnects from a stream, and from a request that is not streamed, while more texts are asked for than fit."""
    asked: Any = {"prompt": PROMPT, "model": "team", "n": 20, "temperature": 2.0}
    ended = "tandem_text_seconds_count"

    async def main() -> None:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            before = metric(server, ended)
            stream = await client.completions.create(**asked, stream=True)
            with pytest.raises(openai.RateLimitError, match="texts are being written"):
                await client.completions.create(**asked | {"n": 24})
            await stream.close()
            await until(lambda: metric(server, "tandem_texts") == 0)
            request = asyncio.ensure_future(client.completions.create(**asked))
            await until(lambda: metric(server, "tandem_kv_cache_usage") > 0)
            request.cancel()
            await asyncio.wait([request])
            await until(lambda: metric(server, "tandem_texts") == 0)
            await until(lambda: metric(server, "tandem_kv_cache_usage") == 0)
            assert metric(server, ended) - before < 40, "the texts did not end by themselves"

    asyncio.run(asyncio.wait_for(main(), 120))


def test_health(server: ServerProcess) -> None:
    with urllib.request.urlopen(f"{server.url}/health") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    ("model", "schedule", "rule"),
    [
        ("senior", None, SOLO),
        ("junior", None, JUNIOR_ALONE),
        ("team", None, Schedule(0.5, 32)),
        ("team", {"name": "word", "prob_senior": 0.25, "max_gap_tokens": 4}, Schedule(0.25, 4)),
        ("team", "token", Schedule(0.5, 1, boundary=0)),
    ],
    ids=str,
)
def test_text_is_the_rollout_of_its_seed(
    client: OpenAI,
    engines: EnginePair,
    prompts: list[Prompt],
    model: str,
    schedule: str | dict[str, Any] | None,
    rule: Schedule,
    temperature: float,
) -> None:
    """In training the engines' noise depends on the batch; a rollout that is greedy or repeatable does not."""
    prompt = prompts[3]
    sampling = SamplingConfig(temperature, 60)
    task = GroupTask(prompt, ("a", "b"), (77, 78), rule, sampling, repeatable=temperature > 0)
    expected = engines.run(engines.actor.write_group(task)).rollouts
    extra = {"schedule": schedule} if schedule else {}
    answer = client.completions.create(
        model=model,
        prompt=[*prompt.token_ids],
        seed=77,
        n=2,
        max_tokens=60,
        temperature=temperature,
        logprobs=0,
        extra_body=extra,
    )
    for choice, rollout in zip(answer.choices, expected, strict=True):
        assert choice.text == rollout.text
        assert choice.logprobs is not None
        assert choice.logprobs.token_logprobs == pytest.approx(rollout.logprobs.tolist(), abs=1e-4)
        assert choice.finish_reason == ("length" if rollout.truncated else "stop")
        if model == "team":
            assert runs(choice) == turns(rollout)
            assert rollout.handoffs > 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens == sum(map(len, expected))


@pytest.mark.slow
def test_server_with_drafts_writes_the_same_greedy_texts(client: OpenAI, tmp_path: Path) -> None:
    def greedy(served: OpenAI) -> list[str]:
        prompts = [f"<|user|>What is {number} plus 5?<|assistant|>" for number in range(6)]
        answer = served.completions.create(model="senior", prompt=prompts, temperature=0, max_tokens=40)
        return [choice.text for choice in answer.choices]

    with running_server(tmp_path, "speculative=4", "rollout.max_in_flight=16") as drafting:
        served = OpenAI(base_url=f"{drafting.url}/v1", api_key="none", max_retries=0)
        assert [model.id for model in served.models.list()] == ["senior"]
        assert greedy(served) == greedy(client)
