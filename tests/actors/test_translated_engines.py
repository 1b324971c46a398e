"""Tests of a junior with another tokenizer on real engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, EndReason, Prompt, Rollout
from tandem.schedule import Schedule
from tandem.tokenization.byte_vocabulary import ByteVocabulary
from tests.support.engine_pair import EnginePair
from tests.support.writing import forward_logprobs, only, texts, write

WORD, SOLO = Schedule(0.5, 32), Schedule(1.0)
RANDOM, RENUMBERED = 2, 3
"""The indices of the foreign juniors among those of the session's engines."""


@pytest.fixture(scope="module")
def prompts(config: Config, foreign_authors: Authors) -> list[Prompt]:
    problems = load_problems(config.data, seed=7, tokenizer=foreign_authors.tokenizer).train.batch(0, 16)
    tokenizers = {index + RANDOM: tokenizer for index, tokenizer in foreign_authors.junior_tokenizers.items()}
    prompts, dropped = encode(problems, foreign_authors.tokenizer, config.data, tokenizers)
    assert not dropped
    return prompts


@pytest.fixture(scope="module")
def rollouts(engines: EnginePair, prompts: list[Prompt]) -> list[Rollout]:
    """Rollouts of the senior and a junior with another vocabulary."""
    return write(engines, prompts, WORD, "translated", weights=only(RANDOM), group_size=2, max_tokens=64)


def test_renumbered_copy_of_senior_writes_solo_text(engines: EnginePair, prompts: list[Prompt]) -> None:
    solo, tandem = (
        write(engines, prompts, schedule, tag, weights=only(RENUMBERED), temperature=0.0)
        for schedule, tag in ((SOLO, "solo"), (WORD, "renumbered"))
    )
    assert texts(tandem) == texts(solo)
    assert [rollout.end for rollout in tandem] == [rollout.end for rollout in solo]
    assert all(rollout.handoffs >= 2 for rollout in tandem)


def test_translated_rollouts_follow_schedule(rollouts: list[Rollout], foreign_authors: Authors) -> None:
    for rollout in rollouts:
        implied = replay(WORD, foreign_authors.boundaries, rollout.seed, rollout.token_ids, rollout.breaks).authorship
        np.testing.assert_array_equal(rollout.authorship, implied)
    assert {rollout.junior for rollout in rollouts} == {RANDOM}
    assert sum(rollout.handoffs for rollout in rollouts) > 100
    assert not any(rollout.end is EndReason.CONTEXT for rollout in rollouts)


def test_senior_logprobs_are_exact_after_translated_text(rollouts: list[Rollout], foreign_authors: Authors) -> None:
    model = AutoModelForCausalLM.from_pretrained(foreign_authors.senior, dtype=torch.float32)
    for rollout in rollouts:
        seniors = rollout.authorship == SENIOR
        np.testing.assert_allclose(rollout.logprobs[seniors], forward_logprobs(model, rollout)[seniors], atol=1e-4)


def test_junior_words_are_whole_and_in_senior_tokens(rollouts: list[Rollout], foreign_authors: Authors) -> None:
    senior = ByteVocabulary(foreign_authors.tokenizer)
    words = 0
    for rollout in rollouts:
        assert (rollout.breaks is None) == (JUNIOR not in rollout.authorship)
        for turn in rollout.turns:
            tokens = rollout.token_ids[turn.start : turn.stop].tolist()
            if turn.author == JUNIOR and turn.stop < len(rollout) and rollout.breaks is not None:
                assert rollout.breaks[turn.stop - 1]
                assert senior.encode(senior.decode(tokens)) == tokens
                words += 1
    assert words > 50
