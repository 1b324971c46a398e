"""Tests of weight sync with a real engine: every kind of parameter, versions and checksums."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, MixtralConfig, PreTrainedModel, Qwen3Config, Qwen3MoeConfig

from actors.engine_layout import engine_specs
from actors.group_task import GroupTask
from launch.run.canary import Canary
from learner.publish import Publisher
from tandem.authors import Authors
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import Config
from tandem.data.problems import load_problems
from tandem.guards import GuardError
from tandem.rollout import SENIOR, Problem, Prompt
from tandem.runtime.segment import WeightSegment
from tandem.runtime.weights import NCCL, PublishedWeights
from tandem.schedule import Schedule
from tests.support.engine_pair import EnginePair
from tests.support.writing import engine_logprobs, forward_logprobs, prompt_logprobs

pytestmark = pytest.mark.engines

KINDS = {
    "embeddings": lambda name: "embed_tokens" in name or "lm_head" in name,
    "linears": lambda name: "proj" in name and "experts" not in name,
    "norms": lambda name: "norm" in name,
    "experts": lambda name: "experts" in name,
    "gates": lambda name: name.endswith("mlp.gate.weight"),
}
SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 128,
    "initializer_range": 0.2,
}
EXPERTS = {"num_experts_per_tok": 2, "max_position_embeddings": 4096}
MODELS = {
    "tied": lambda vocabulary: Qwen3Config(**SHAPE, vocab_size=vocabulary, tie_word_embeddings=True),
    "untied": lambda vocabulary: Qwen3Config(**SHAPE, vocab_size=vocabulary, tie_word_embeddings=False),
    "qwen3_moe": lambda vocabulary: Qwen3MoeConfig(
        **SHAPE, **EXPERTS, vocab_size=vocabulary, num_experts=4, moe_intermediate_size=64
    ),
    "mixtral": lambda vocabulary: MixtralConfig(**SHAPE, **EXPERTS, vocab_size=vocabulary, num_local_experts=4),
}


Live = tuple[EnginePair, PreTrainedModel, Publisher]


@pytest.fixture(scope="module")
def all_live(config: Config, authors: Authors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Live]]:
    """For each of `MODELS` an engine with a random model, the same model on the learner's side, and its publisher.

    The engines start at the same time.
    """

    pairs: list[EnginePair] = []

    def start(kind: str) -> Live:
        folder: Path = tmp_path_factory.mktemp(kind)
        models[kind].save_pretrained(folder / "model")
        authors.tokenizer.save_pretrained(folder / "model")
        spec = replace(engine_specs(config, authors, "cpu")[0][0], model=str(folder / "model"), max_model_len=512)
        pairs.append(pair := EnginePair([spec]))
        return pair, models[kind], Publisher(models[kind], folder / "segment", bucket_bytes=1 << 14)

    models: dict[str, PreTrainedModel] = {}
    for kind, shape in MODELS.items():
        torch.manual_seed(0)
        models[kind] = AutoModelForCausalLM.from_config(shape(authors.vocabulary), dtype=torch.float32)
    with ThreadPoolExecutor() as threads:
        try:
            started = dict(zip(MODELS, threads.map(start, MODELS), strict=True))
            yield started
            for _, _, publisher in started.values():
                publisher.close()
        finally:
            list(threads.map(EnginePair.close, pairs))


@pytest.fixture(params=MODELS)
def live(request: pytest.FixtureRequest, all_live: dict[str, Live]) -> Live:
    """The engine of one model."""
    return all_live[request.param]


def test_weight_sync_reaches_every_kind_of_parameter(live: Live) -> None:
    pair, model, publisher = live
    ids = torch.randint(5, 150, (60,), generator=torch.Generator().manual_seed(1)).tolist()
    np.testing.assert_allclose(engine_logprobs(pair, SENIOR, ids, "fresh"), prompt_logprobs(model, ids), atol=1e-4)
    for version, (kind, belongs) in enumerate(KINDS.items(), start=1):
        before = prompt_logprobs(model, ids)
        checksum = pair.run(pair.actor.checksums(SENIOR))
        with torch.no_grad():
            changed = [p.mul_(1 + 0.3 * torch.randn_like(p)) for name, p in model.named_parameters() if belongs(name)]
        if not changed:
            assert kind in ("experts", "gates") and model.config.model_type == "qwen3"
            continue
        after = prompt_logprobs(model, ids)
        assert np.abs(after - before).max() > 0.1, f"the test's change of the {kind} is too small to see"
        published = publisher.publish(version)
        assert published is not None
        assert pair.run(pair.actor.receive_weights(published)) == version
        np.testing.assert_allclose(
            engine_logprobs(pair, SENIOR, ids, kind), after, atol=1e-4, err_msg=f"after an update of the {kind} only"
        )
        assert pair.run(pair.actor.checksums(SENIOR)) != checksum


def test_cached_prompt_is_recomputed_after_weight_sync(live: Live) -> None:
    pair, model, publisher = live
    # Longer than two blocks of the KV cache, because only whole blocks are cached.
    prompt = Prompt(
        Problem("long", "", ""), tuple(torch.randint(5, 150, (300,), generator=torch.Generator().manual_seed(2)).tolist())
    )
    for version in (5, 6):
        for attempt in "ab":
            task = GroupTask(prompt, (f"cached/{version}/{attempt}",), (1,), Schedule(1.0), SamplingConfig(1.0, 20))
            (rollout,) = pair.run(pair.actor.write_group(task)).rollouts
            np.testing.assert_allclose(rollout.logprobs, forward_logprobs(model, rollout), atol=1e-4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
        published = publisher.publish(version)
        assert published is not None
        pair.run(pair.actor.receive_weights(published))


def test_canary_finds_missed_and_partial_weight_syncs(live: Live, config: Config, authors: Authors) -> None:
    pair, model, publisher = live
    pool: Any = SimpleNamespace(
        text_logprobs=lambda texts: [pair.run(pair.actor.text_logprobs(texts))],
        sleeping=nullcontext,
    )
    learner: Any = SimpleNamespace(text_logprobs=lambda texts: np.concatenate([prompt_logprobs(model, text) for text in texts]))
    problems = load_problems(config.data, config.seed, authors.tokenizer)
    canary = Canary(config, authors, problems, pool, learner)

    def publish(version: int) -> None:
        published = publisher.publish(version)
        assert published is not None
        pair.run(pair.actor.receive_weights(published))

    def update() -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + 0.01 * torch.randn_like(parameter))

    publish(7)
    canary.start()
    update()
    canary.read_learner()
    with pytest.raises(GuardError, match="did not load the update"):
        canary.check()
    publish(8)
    assert canary.check()["weights/canary_gap"] < 1e-4, "the new weights have arrived"
    old = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    update()
    new = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        parameter.data.copy_(old[name] if "layers" in name else new[name])
    publish(9)
    for name, parameter in model.named_parameters():
        parameter.data.copy_(new[name])
    canary.read_learner()
    with pytest.raises(GuardError, match="or only a part of it"):
        canary.check()


def test_engine_refuses_bytes_with_another_checksum(live: Live) -> None:
    pair, _, publisher = live
    published = publisher.publish(10)
    assert published is not None
    computed_with = pair.run(pair.actor.checksums(SENIOR))
    with pytest.raises(Exception, match="does not hold version 10 of the weights: its checksum differs"):
        pair.run(pair.actor.receive_weights(replace(published, checksum=published.checksum ^ 1)))
    stale = publisher.publish(11)
    assert stale is not None
    torn = WeightSegment(published.path, published.layout)
    torn.view(published.layout.tensors[-1]).add_(1)
    with pytest.raises(Exception, match="does not hold version 11 of the weights: its checksum differs"):
        pair.run(pair.actor.receive_weights(stale))
    assert pair.run(pair.actor.checksums(SENIOR)) == computed_with, "no tensor was loaded"


def test_engine_does_not_adopt_version_without_its_weights(
    live: Live,
) -> None:
    pair, _, _ = live
    with pytest.raises(RuntimeError, match="version 12 of the weights was not received by nccl"):
        pair.run(pair.actor.receive_weights(PublishedWeights(12, NCCL)))
    with pytest.raises(ValueError, match="'stop' is not a step of a weight transfer"):
        pair.run(pair.actor.transfer("stop", None))
