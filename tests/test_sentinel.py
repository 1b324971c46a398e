"""Turns that end with a sentinel (rollout.turn_end=sentinel): the junior's do, beside a senior whose scheduler ends them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_pair import EnginePair
from transformers import AutoModelForCausalLM
from writing import forward_logprobs, only, texts, write

from actors.placement import engine_specs
from tandem.authors import Authors, load_authors
from tandem.config import Config
from tandem.rollout import JUNIOR, SENIOR, Prompt, Rollout
from tandem.schedule import Schedule, replay
from tandem.zoo import sentinel_token_id

WORD, SOLO = Schedule(0.5, 32), Schedule(1.0)
BY_SENTINEL = only(4)


@pytest.fixture(scope="module")
def sentinel(authors: Authors) -> int:
    return sentinel_token_id(authors.tokenizer, authors.vocabulary)


@pytest.fixture(scope="module")
def rollouts(engines: EnginePair, prompts: list[Prompt]) -> list[Rollout]:
    # Hot enough for tokens that the model hardly ever writes.
    return write(engines, prompts, WORD, "sentinel", temperature=2.0, group_size=4, weights=BY_SENTINEL)


def test_greedy_and_self_paired_the_text_is_the_solo_text(engines: EnginePair, prompts: list[Prompt]) -> None:
    solo = write(engines, prompts, SOLO, "sentinel-solo", temperature=0)
    tandem = write(engines, prompts, WORD, "sentinel-greedy", temperature=0, weights=BY_SENTINEL)
    assert texts(tandem) == texts(solo)
    assert all(rollout.handoffs >= 3 for rollout in tandem)


def test_the_mask_is_the_schedule_replayed(rollouts: list[Rollout], authors: Authors) -> None:
    for rollout in rollouts:
        implied = replay(WORD, authors.boundaries, rollout.seed, rollout.token_ids)
        np.testing.assert_array_equal(rollout.authorship, implied)


def test_the_sentinel_never_occurs(rollouts: list[Rollout], sentinel: int) -> None:
    written = np.concatenate([rollout.token_ids[rollout.authorship == JUNIOR] for rollout in rollouts])
    assert len(np.unique(written)) > 80
    assert sentinel not in written


def test_log_probabilities_leave_the_sentinel_out(rollouts: list[Rollout], authors: Authors, sentinel: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)
    for rollout in rollouts:
        senior, junior = rollout.authorship == SENIOR, rollout.authorship == JUNIOR
        without = forward_logprobs(model, rollout, 2.0, forbidden=sentinel)
        np.testing.assert_allclose(rollout.logprobs[junior], without[junior], atol=1e-4)
        np.testing.assert_allclose(rollout.logprobs[senior], forward_logprobs(model, rollout, 2.0)[senior], atol=1e-4)


def test_the_configuration_chooses_what_ends_a_turn(config: Config, authors: Authors, sentinel: int) -> None:
    assert authors.sentinel is None
    chosen = load_authors(replace(config, rollout=replace(config.rollout, turn_end="sentinel")))
    assert chosen.sentinel == sentinel
    for spec in engine_specs(config, chosen, "cpu")[0]:
        assert (spec.sentinel, spec.stream_interval) == (sentinel, 1)
