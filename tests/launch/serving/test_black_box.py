"""The server as a black box: the junior of an evaluation, on real engines."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAI

from actors.black_box import BlackBoxSession, check_answers, client_settings, unit_pattern
from launch.entry import configuration
from launch.evaluation.evaluate import evaluate
from tandem.authors import Authors
from tandem.cogeneration import Limits, cogenerate
from tandem.config.black_box import BlackBox
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import ConfigError
from tandem.rollout import JUNIOR, EndReason, Prompt, Rollout
from tandem.schedule import JUNIOR_ALONE
from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tests.support.server import ServerProcess

pytestmark = pytest.mark.engines


def test_text_is_the_servers(server: ServerProcess, authors: Authors, prompts: list[Prompt]) -> None:
    box, prompt = BlackBox(f"{server.url}/v1", "junior"), authors.tokenizer.decode(prompts[0].token_ids)

    async def write(client: AsyncOpenAI) -> Rollout:
        session = BlackBoxSession(
            client,
            box,
            ByteVocabulary(authors.tokenizer),
            authors.eos_ids[0],
            prompt=prompt,
            prompt_tokens=len(prompts[0].token_ids),
            unit=unit_pattern(JUNIOR_ALONE, "\n"),
            sampling=SamplingConfig(temperature=0.0),
            seed=1,
        )
        limits = Limits(90, 400, frozenset(authors.eos_ids))
        ids = prompts[0].token_ids
        return await cogenerate("r", ids, {JUNIOR: session}, JUNIOR_ALONE, authors.boundaries, 1, limits)

    async def written() -> Rollout:
        async with AsyncOpenAI(**client_settings(box)) as client:
            return await write(client)

    check_answers(box)
    rollout = asyncio.run(written())
    with OpenAI(**client_settings(box)) as client:
        whole = client.completions.create(model="junior", prompt=prompt, max_tokens=90, temperature=0, seed=1)
    assert authors.tokenizer.decode(rollout.token_ids, skip_special_tokens=True) == whole.choices[0].text
    assert rollout.end == EndReason.EOS and whole.choices[0].finish_reason == "stop"


def test_unknown_model_is_refused(server: ServerProcess) -> None:
    with pytest.raises(
        ConfigError, match=r"completes no text \(model: there is no model 'missing'; choose senior or .*\); name another"
    ):
        check_answers(BlackBox(f"{server.url}/v1", "missing"))


@pytest.mark.usefixtures("ray_session")
def test_evaluation_with_black_box(server: ServerProcess, tmp_path: Path) -> None:
    settings = [
        *(f'junior=["openai:{server.url}/v1,junior"]', "name=box", f"log.dir={tmp_path}"),
        *("eval.measures=[handoff,junior_alone,takeover]", "eval.handoff=[{name: step,alternates: true},{name: word}]"),
        *("eval.prefixes=[0.5]", "eval.problems=8", "rollout.max_in_flight=16"),
    ]
    evaluate(configuration(settings))
    result = json.loads((tmp_path / "box" / "result.json").read_text())
    scores = {name: each["value"] for name, each in result["scores"].items()}
    assert result["juniors"] == [f"openai:{server.url}/v1,junior"]
    assert 0.1 < scores["team/word/senior_share"] < 0.9 and scores["team/word/handoffs"] > 2
    assert scores["team/step_alternating/handoffs"] > 1
    assert {"junior_alone/accuracy", "takeover/50%"} <= scores.keys()
