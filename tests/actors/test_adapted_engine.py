"""Tests of one engine that writes for both authors, the senior with an adapter that it receives alone, against peft."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.engine_layout import engine_specs
from learner.policy import Policy
from learner.publish import Publisher
from tandem.authors import Authors
from tandem.config.learner import LoraConfig
from tandem.config.schema import Config
from tandem.rollout import FROZEN_VERSION, JUNIOR, SENIOR, Prompt
from tandem.runtime.segment import WeightSegment
from tandem.runtime.weights import SHM, PublishedWeights, lay_out
from tandem.schedule import SOLO, Schedule
from tests.support.engine_pair import EnginePair
from tests.support.writing import forward_logprobs, prompt_logprobs, texts, write

pytestmark = pytest.mark.engines

WORD, JUNIOR_ALONE = Schedule(0.5, max_gap_tokens=2), Schedule(0.0)
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = LoraConfig(rank=3, alpha=6.0, sync="adapter", targets=LAYERS)
"""No rank of vLLM's kernels, and a scale other than 1."""


class Learner:
    """A learner's end of the weight sync, without its ranks: an adapter of the base, and its publisher."""

    def __init__(self, base: Path, folder: Path) -> None:
        self._base, self._folder = base, folder
        policy = Policy(str(base), dtype=torch.float32, temperature=1.0, chunk=64, lora=LORA, seed=1)
        assert policy.adapter is not None
        self._parameters = policy.adapter.named_parameters()
        self.publisher = Publisher(policy.model, folder / "segment", policy.adapter, adapter_alone=True, bucket_bytes=1 << 14)

    def publish(self, version: int, std: float) -> tuple[PublishedWeights, torch.nn.Module]:
        """Return an announcement of a new adapter, whose weights deviate by `std`, and the senior with it, by peft."""
        torch.manual_seed(version)
        for parameter in self._parameters.values():
            torch.nn.init.normal_(parameter, std=std)
        published = self.publisher.publish(version)
        assert published is not None
        self.publisher.export(self._folder / str(version), str(self._base), merged=False)
        senior = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(self._base), self._folder / str(version))
        return published, senior


@pytest.fixture(scope="module")
def learner(authors: Authors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learner]:
    learner = Learner(authors.senior, tmp_path_factory.mktemp("learner"))
    yield learner
    learner.publisher.close()


@pytest.fixture(scope="module")
def shared(config: Config, authors: Authors) -> Iterator[EnginePair]:
    """The one engine of a run with `rollout.engines=shared`, whose texts have the length that a test asks for."""
    settings = replace(config, rollout=replace(config.rollout, engines="shared"))
    specs = engine_specs(settings, authors, "cpu", lora=LORA)[0]
    pair = EnginePair([replace(spec, eos_ids=()) for spec in specs])
    yield pair
    pair.close()


@pytest.fixture(scope="module")
def base(authors: Authors) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(authors.senior)
    return model


def test_both_authors_compute_with_their_own_weights_in_one_batch(
    shared: EnginePair, learner: Learner, base: PreTrainedModel, prompts: list[Prompt], config: Config
) -> None:
    assert shared.admitted == config.rollout.max_in_flight
    for rollout in write(shared, prompts[:2], WORD, "before", max_tokens=48):
        np.testing.assert_allclose(rollout.logprobs, forward_logprobs(base, rollout), atol=1e-4)
    whole = sum(parameter.nbytes for parameter in base.parameters())
    for version in (1, 2):
        published, senior = learner.publish(version, std=0.15)
        assert published.layout.nbytes < whole / 5
        assert shared.run(shared.actor.receive_weights(published)) == version
        rollouts = write(shared, prompts[:4], WORD, f"v{version}", max_tokens=48)
        assert sum(rollout.handoffs for rollout in rollouts) > 30
        apart = []
        for rollout in rollouts:
            of_senior, of_junior = forward_logprobs(senior, rollout), forward_logprobs(base, rollout)
            by_senior = rollout.authorship == SENIOR
            np.testing.assert_allclose(rollout.logprobs, np.where(by_senior, of_senior, of_junior), atol=1e-4)
            assert rollout.weight_versions.tolist() == np.where(by_senior, version, FROZEN_VERSION).tolist()
            apart += [*np.abs(of_senior - of_junior)]
        assert np.mean(apart) > 0.5, "a wrong author would show"
        of_canary = [rollouts[0].token_ids.tolist(), rollouts[1].token_ids.tolist()[:20]]
        expected = np.concatenate([prompt_logprobs(senior, text) for text in of_canary])
        np.testing.assert_allclose(shared.run(shared.actor.text_logprobs(of_canary)), expected, atol=1e-4)


def test_with_an_adapter_of_zeros_greedy_text_equals_solo_text(
    shared: EnginePair, learner: Learner, prompts: list[Prompt]
) -> None:
    published, _ = learner.publish(3, std=0.0)
    shared.run(shared.actor.receive_weights(published))
    tandem = write(shared, prompts[:4], WORD, "greedy-tandem", temperature=0, max_tokens=48)
    assert texts(tandem) == texts(write(shared, prompts[:4], SOLO, "greedy-solo", temperature=0, max_tokens=48))
    assert all(rollout.handoffs >= 3 for rollout in tandem)


def test_a_weight_sync_changes_the_senior_only(shared: EnginePair, learner: Learner, prompts: list[Prompt]) -> None:
    def state() -> tuple[list[str], list[list[int]], list[str], list[list[int]]]:
        authors = [(SENIOR, SOLO), (JUNIOR, JUNIOR_ALONE)]
        (senior, its_texts), (junior, others) = (
            (
                shared.run(shared.actor.checksums(author)),
                texts(write(shared, prompts[:2], schedule, f"{author}", temperature=0, max_tokens=24)),
            )
            for author, schedule in authors
        )
        return senior, its_texts, junior, others

    published, _ = learner.publish(4, std=0.15)
    before = state()
    shared.run(shared.actor.receive_weights(published))
    after = state()
    assert before[0] != after[0] and before[1] != after[1]
    assert before[2:] == after[2:]


def test_layer_that_vllm_does_not_have_is_refused(shared: EnginePair, tmp_path: Path) -> None:
    layer, rank = "base_model.model.model.layers.0.self_attn.x_proj", int(LORA.rank)
    shapes = {"lora_A": (rank, 8), "lora_B": (8, rank)}
    layout = lay_out((f"{layer}.{half}.weight", shape, torch.float32) for half, shape in shapes.items())
    segment = WeightSegment(tmp_path / "segment", layout, create=True)
    unknown = PublishedWeights(9, SHM, str(segment.path), layout, segment.checksum())
    with pytest.raises(Exception, match=r"has no layer model.layers.0.self_attn.x_proj for the adapter; use learner.lora.sync"):
        shared.run(shared.actor.receive_weights(unknown))
