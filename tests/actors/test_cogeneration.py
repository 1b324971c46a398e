"""Tests of co-generation on real vLLM engines: exact texts, authorship by the schedule, exact log-probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tandem.authors import Authors
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, EndReason, Problem, Prompt
from tandem.schedule import SCHEDULES, Schedule, unannealed_schedule
from tests.support.engine_pair import EnginePair
from tests.support.writing import forward_logprobs, texts, write

WORD, SOLO, JUNIOR_ALONE = Schedule(0.5, 32), Schedule(1.0), Schedule(0.0)


@pytest.fixture(scope="module")
def transformers_model(authors: Authors) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)


def test_greedy_self_paired_text_equals_solo_text(engines: EnginePair, prompts: list[Prompt]) -> None:
    solo = write(engines, prompts, SOLO, "greedy-solo", temperature=0)
    tandem = write(engines, prompts, WORD, "greedy-tandem", temperature=0)
    assert texts(tandem) == texts(solo)
    assert all(rollout.handoffs >= 3 for rollout in tandem)
    assert len({tuple(text) for text in texts(solo)}) > 8


def test_prob_senior_0_and_1_give_same_greedy_text(engines: EnginePair, prompts: list[Prompt]) -> None:
    senior = write(engines, prompts, Schedule(1.0, max_gap_tokens=1), "greedy-senior", temperature=0)
    junior = write(engines, prompts, JUNIOR_ALONE, "greedy-junior", temperature=0)
    solo = write(engines, prompts, SOLO, "greedy-solo-2", temperature=0)
    assert texts(senior) == texts(junior) == texts(solo)
    assert all((rollout.authorship == SENIOR).all() for rollout in senior)
    assert all((rollout.authorship == JUNIOR).all() for rollout in junior)


@pytest.mark.parametrize("name", [*sorted(SCHEDULES), "step, alternating"])
def test_mask_equals_replayed_schedule(engines: EnginePair, prompts: list[Prompt], authors: Authors, name: str) -> None:
    settings = ScheduleConfig(name.split(",")[0], prob_senior=0.6, max_gap_tokens=3, alternates=name.endswith("alternating"))
    schedule = unannealed_schedule(settings)
    rollouts = write(engines, prompts, schedule, f"replay-{name}", group_size=3)
    for rollout in rollouts:
        implied, drawn = replay(schedule, authors.boundaries, rollout.seed, rollout.token_ids)
        np.testing.assert_array_equal(rollout.authorship, implied)
        assert rollout.draws == (drawn.sum(), implied[drawn].sum())
    share = np.concatenate([rollout.authorship for rollout in rollouts]).mean()
    expected = 1.0 if schedule.solo else 0.5 if schedule.alternates else settings.prob_senior
    # Texts have few steps of different lengths.
    assert abs(share - expected) < (0.2 if name.startswith("step") else 0.08)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_equal_those_of_the_model(
    engines: EnginePair, prompts: list[Prompt], authors: Authors, transformers_model: torch.nn.Module, temperature: float
) -> None:
    rollouts = write(engines, prompts, WORD, f"logprobs-{temperature}", temperature=temperature, group_size=2)
    after_handoff = 0
    for rollout in rollouts:
        expected = forward_logprobs(transformers_model, rollout, temperature)
        np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-4)
        starts = [turn.start for turn in rollout.turns[1:]]
        np.testing.assert_allclose(rollout.logprobs[starts], expected[starts], atol=1e-4)
        after_handoff += len(starts)
    assert after_handoff > 50
    assert min(rollout.logprobs.min() for rollout in rollouts) < -0.1


def test_two_authors_do_not_share_their_noise(engines: EnginePair, prompts: list[Prompt]) -> None:
    senior = write(engines, prompts, SOLO, "noise-senior", temperature=2.0)
    junior = write(engines, prompts, JUNIOR_ALONE, "noise-junior", temperature=2.0)
    assert sum(a == b for a, b in zip(texts(senior), texts(junior), strict=True)) < 4


def test_reseeded_engines_repeat_noise_of_their_start(engines: EnginePair, prompts: list[Prompt]) -> None:
    """One rollout, since the noise of several depends on the order in which they are written."""

    def one_text(shift: int, tag: str) -> list[list[int]]:
        engines.run(engines.actor.reseed(shift))
        return texts(write(engines, prompts[:1], WORD, tag, temperature=2.0))

    assert one_text(0, "seed-0") == one_text(0, "seed-0-again") != one_text(7, "seed-7")


def test_more_rollouts_than_slots_all_finish(engines: EnginePair, prompts: list[Prompt], config: Config) -> None:
    assert engines.admitted == config.rollout.max_in_flight == 16
    rollouts = write(engines, prompts, WORD, "crowd", group_size=5)
    assert len(rollouts) == 80
    assert all(len(rollout) for rollout in rollouts)


def test_budget_ends_rollout_of_either_author(engines: EnginePair, prompts: list[Prompt], authors: Authors) -> None:
    for schedule in (SOLO, WORD, JUNIOR_ALONE):
        for rollout in write(engines, prompts, schedule, f"budget-{schedule.prob_senior}", max_tokens=5):
            assert (len(rollout), rollout.end) == (5, EndReason.BUDGET)
            assert not set(rollout.token_ids.tolist()) & set(authors.eos_ids)


def test_end_of_sequence_ends_rollout_and_is_part_of_it(engines: EnginePair, prompts: list[Prompt], authors: Authors) -> None:
    rollouts = write(engines, prompts, WORD, "eos", temperature=0)
    ended = [rollout for rollout in rollouts if rollout.end is EndReason.EOS]
    assert len(ended) > 8
    for rollout in ended:
        assert rollout.token_ids[-1] in authors.eos_ids
        assert not set(rollout.token_ids[:-1].tolist()) & set(authors.eos_ids)
        assert "boxed" in rollout.text


def test_prompt_longer_than_context_is_refused(engines: EnginePair, authors: Authors) -> None:
    long = Prompt(Problem("long", "", ""), tuple([7] * authors.context))
    with pytest.raises(ValueError, match=f"has {authors.context} tokens"):
        write(engines, [long], WORD, "too-long")


def test_tokens_record_weight_version_of_their_author(engines: EnginePair, prompts: list[Prompt]) -> None:
    for rollout in write(engines, prompts[:4], WORD, "versions"):
        np.testing.assert_array_equal(rollout.weight_versions, np.where(rollout.authorship == SENIOR, 0, -1))
