"""A senior whose junior drafts for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from actors.engine_layout import engine_specs
from actors.group_task import GroupTask
from actors.rollout_pool import RolloutPool
from launch.entry import check_own_settings
from launch.serving.api import COMPLETIONS, MODEL_LIST, create_app
from launch.serving.inputs import read_serving_inputs
from launch.serving.prompts import PromptEncoder
from launch.serving.service import Service
from tandem.authors import Authors
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config, ConfigError
from tandem.models.loading import load_language_model
from tandem.rollout import Prompt, Rollout
from tandem.schedule import SOLO
from tests.support.builders import noisy_copy, save_model
from tests.support.engine_pair import EnginePair
from tests.support.local_pool import LocalPool


@pytest.fixture(scope="module")
def served(config: Config, authors: Authors, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Authors]:
    """The settings and authors of a server with drafts of a copy with noise on its weights."""
    draft = noisy_copy(authors.senior, authors.tokenizer, tmp_path_factory.mktemp("draft"))
    speculating = replace(config, speculative=4, junior=[str(draft)])
    check_own_settings(speculating, "launch/serve.py")
    return read_serving_inputs(speculating)[:2]


@pytest.fixture(scope="module")
def drafting(served: tuple[Config, Authors]) -> Iterator[EnginePair]:
    """The senior's engine of that server."""
    (specs,) = engine_specs(*served, "cpu", streams=True)
    assert len(specs) == 1
    engines = EnginePair(specs)
    yield engines
    engines.close()


def written(engines: EnginePair, prompts: Sequence[Prompt], texts: int, sampling: SamplingConfig) -> list[Rollout]:
    """Return `texts` texts of each of `prompts`, all written at the same time."""

    async def write() -> list[Rollout]:
        names = [[f"{sampling.temperature}/{index}/{text}" for text in range(texts)] for index in range(len(prompts))]
        tasks = [
            GroupTask(prompt, tuple(ids), tuple(range(texts)), SOLO, sampling)
            for prompt, ids in zip(prompts, names, strict=True)
        ]
        groups = await asyncio.gather(*map(engines.actor.write_group, tasks))
        return [rollout for group in groups for rollout in group.rollouts]

    found: list[Rollout] = engines.run(write())
    return found


@pytest.fixture(scope="module")
def senior(authors: Authors) -> PreTrainedModel:
    return load_language_model(authors.senior, torch.float32)


def logprobs(senior: PreTrainedModel, rollout: Rollout, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the senior's log-probabilities of all tokens at each position, [T, V], and of those written, [T]."""
    text = torch.from_numpy(np.concatenate([rollout.prompt_ids, rollout.token_ids]).astype(np.int64))
    with torch.no_grad():
        logits = senior(text[None]).logits[0, len(rollout.prompt_ids) - 1 : -1]
    found = (logits / temperature).log_softmax(-1).numpy()
    return found, found[np.arange(len(found)), rollout.token_ids]


@pytest.mark.engines
def test_greedy_texts_are_the_seniors_own(
    drafting: EnginePair, senior: PreTrainedModel, authors: Authors, prompts: list[Prompt]
) -> None:
    for rollout in written(drafting, prompts[:8], 1, SamplingConfig(0.0, 60)):
        every, chosen = logprobs(senior, rollout, 1.0)
        assert chosen == pytest.approx(every.max(axis=1), abs=1e-4)
        assert rollout.logprobs == pytest.approx(chosen, abs=1e-3)
        assert rollout.truncated or rollout.token_ids[-1] in authors.eos_ids


@pytest.mark.engines
def test_sampled_texts_have_the_seniors_distribution(
    drafting: EnginePair, senior: PreTrainedModel, prompts: list[Prompt]
) -> None:
    """The log-probability of a token minus its mean, the negative entropy, is a martingale difference."""
    total = variance = 0.0
    for rollout in written(drafting, prompts[:4], 16, SamplingConfig(1.5, 30)):
        every, chosen = logprobs(senior, rollout, 1.5)
        assert rollout.logprobs == pytest.approx(chosen, abs=1e-3)
        mean = (np.exp(every) * every).sum(axis=1)
        total += float((chosen - mean).sum())
        variance += float((np.exp(every) * every**2).sum() - (mean**2).sum())
    assert abs(total) < 5 * variance**0.5


@pytest.mark.engines
def test_api_with_drafts_writes_the_same_greedy_texts(
    drafting: EnginePair, served: tuple[Config, Authors], engines: EnginePair, authors: Authors
) -> None:
    prompts = [f"<|user|>What is {number} plus 5?<|assistant|>" for number in range(6)]
    asked: Any = {"model": "senior", "prompt": prompts, "temperature": 0, "max_tokens": 40}
    app = create_app(Service(*served, cast(RolloutPool, LocalPool(drafting.actor))))

    async def models_and_texts() -> tuple[list[str], list[str]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            models = (await client.get(MODEL_LIST)).json()["data"]
            choices = (await client.post(COMPLETIONS, json=asked)).json()["choices"]
        return [model["id"] for model in models], [choice["text"] for choice in choices]

    models, drafted = drafting.run(models_and_texts())
    assert models == ["senior"]
    encoder = PromptEncoder(authors)
    plain = written(engines, [encoder.text(prompt) for prompt in prompts], 1, SamplingConfig(0.0, 40))
    assert len(plain) == 6 and drafted == [rollout.text for rollout in plain]


def test_junior_of_another_width_is_refused(config: Config, authors: Authors, tmp_path: Path) -> None:
    junior = save_model(tmp_path, authors.tokenizer, vocab_size=authors.vocabulary + 8)
    message = rf"junior\[0\]={junior}: its logits have {authors.vocabulary + 8} entries .* leave out speculative"
    with pytest.raises(ConfigError, match=message):
        read_serving_inputs(replace(config, junior=[str(junior)], speculative=4))
