"""Two real vLLM engines writing together: exact, faithful to the schedule, and honest about their log-probabilities."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_pair import EnginePair
from transformers import AutoModelForCausalLM

from actors.rollout import GroupTask
from actors.rollout_pool import engine_specs
from tandem.authors import Authors
from tandem.config import Config, ScheduleConfig
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.rollout import JUNIOR, SENIOR, EndReason, Problem, Prompt, Rollout
from tandem.schedule import Schedule, replay
from tandem.schedules import SCHEDULES

WORD, SOLO, JUNIOR_ALONE = Schedule(0.5, 32), Schedule(1.0), Schedule(0.0)
MAX_TOKENS = 96


@pytest.fixture(scope="module")
def prompts(config: Config, authors: Authors) -> list[Prompt]:
    problems = load_problems(config.data, seed=5, tokenizer=authors.tokenizer).train.batch(0, 16)
    return encode(problems, authors.tokenizer, config.data)[0]


@pytest.fixture(scope="module")
def transformers_model(authors: Authors) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32)


def write(
    engines: EnginePair,
    prompts: list[Prompt],
    schedule: Schedule,
    tag: str,
    *,
    temperature: float = 1.0,
    max_tokens: int = MAX_TOKENS,
    group_size: int = 1,
) -> list[Rollout]:
    """Rollouts of all prompts, written at the same time."""

    async def all_groups() -> list[Rollout]:
        tasks = [
            GroupTask(
                prompt,
                tuple(f"{tag}/{i}/{k}" for k in range(group_size)),
                tuple(1000 * i + k for k in range(group_size)),
                schedule,
                temperature,
                max_tokens,
            )
            for i, prompt in enumerate(prompts)
        ]
        groups = await asyncio.gather(*map(engines.actor.write_group, tasks))
        return [rollout for group in groups for rollout in group.rollouts]

    return engines.run(all_groups())


def texts(rollouts: list[Rollout]) -> list[list[int]]:
    return [rollout.token_ids.tolist() for rollout in rollouts]


def forward_logprobs(model: torch.nn.Module, rollout: Rollout, temperature: float, sentinel: int) -> np.ndarray:
    """log_softmax(logits / T) over the vocabulary without the sentinel, by plain transformers; float32 [T]."""
    ids = torch.tensor([*rollout.prompt_ids, *rollout.token_ids])
    with torch.no_grad():
        logits = model(ids[None]).logits[0] / temperature
    logits[:, sentinel] = -torch.inf
    start = len(rollout.prompt_ids) - 1
    return logits.log_softmax(-1)[start:-1].gather(1, ids[start + 1 :, None])[:, 0].numpy()


def test_greedy_self_paired_word_schedule_reproduces_the_solo_text(engines: EnginePair, prompts: list[Prompt]) -> None:
    solo = write(engines, prompts, SOLO, "greedy-solo", temperature=0)
    tandem = write(engines, prompts, WORD, "greedy-tandem", temperature=0)
    assert texts(tandem) == texts(solo)
    assert all(rollout.handoffs >= 3 for rollout in tandem)
    assert len({tuple(text) for text in texts(solo)}) > 8


def test_the_junior_alone_and_prob_senior_one_write_the_same_greedy_text(engines: EnginePair, prompts: list[Prompt]) -> None:
    senior = write(engines, prompts, Schedule(1.0, max_gap_tokens=1), "greedy-senior", temperature=0)
    junior = write(engines, prompts, JUNIOR_ALONE, "greedy-junior", temperature=0)
    solo = write(engines, prompts, SOLO, "greedy-solo-2", temperature=0)
    assert texts(senior) == texts(junior) == texts(solo)
    assert all((rollout.authorship == SENIOR).all() for rollout in senior)
    assert all((rollout.authorship == JUNIOR).all() for rollout in junior)


@pytest.mark.parametrize("name", [*sorted(SCHEDULES), "step, alternating"])
def test_the_mask_is_the_schedule_replayed(engines: EnginePair, prompts: list[Prompt], authors: Authors, name: str) -> None:
    settings = ScheduleConfig(prob_senior=0.6, max_gap_tokens=3, alternates=name.endswith("alternating"))
    schedule = SCHEDULES[name.split(",")[0]](settings, settings.prob_senior)
    rollouts = write(engines, prompts, schedule, f"replay-{name}", group_size=3)
    for rollout in rollouts:
        implied = replay(schedule, authors.boundaries, rollout.seed, rollout.token_ids)
        np.testing.assert_array_equal(rollout.authorship, implied)
    share = np.concatenate([rollout.authorship for rollout in rollouts]).mean()
    expected = 1.0 if schedule.solo else 0.5 if schedule.alternates else settings.prob_senior
    assert abs(share - expected) < 0.08


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_behaviour_logprobs_are_the_models(
    engines: EnginePair, prompts: list[Prompt], authors: Authors, transformers_model: torch.nn.Module, temperature: float
) -> None:
    rollouts = write(engines, prompts, WORD, f"logprobs-{temperature}", temperature=temperature)
    after_handoff = 0
    for rollout in rollouts:
        expected = forward_logprobs(transformers_model, rollout, temperature, authors.sentinel)
        np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-4)
        starts = [turn.start for turn in rollout.turns[1:]]
        np.testing.assert_allclose(rollout.logprobs[starts], expected[starts], atol=1e-4)
        after_handoff += len(starts)
    assert after_handoff > 50
    assert min(rollout.logprobs.min() for rollout in rollouts) < -0.5


def test_the_two_authors_do_not_share_their_noise(engines: EnginePair, prompts: list[Prompt]) -> None:
    senior = write(engines, prompts, SOLO, "noise-senior", temperature=2.0)
    junior = write(engines, prompts, JUNIOR_ALONE, "noise-junior", temperature=2.0)
    assert sum(a == b for a, b in zip(texts(senior), texts(junior), strict=True)) < 4


def test_a_small_kv_cache_bounds_the_rollouts_in_flight(config: Config, authors: Authors, prompts: list[Prompt]) -> None:
    cramped = [replace(spec, kv_cache_gib=0.003) for spec in engine_specs(config, authors, "cpu")[0]]
    pair = EnginePair(cramped)
    try:
        assert 1 <= pair.admitted < config.rollout.max_in_flight
        rollouts = write(pair, prompts, WORD, "cramped", temperature=0, group_size=2)
        assert len(rollouts) == 32
        assert all(rollout.handoffs for rollout in rollouts)
    finally:
        pair.close()


def test_more_rollouts_than_slots_all_finish(engines: EnginePair, prompts: list[Prompt], config: Config) -> None:
    assert engines.admitted == config.rollout.max_in_flight == 16
    rollouts = write(engines, prompts, WORD, "crowd", group_size=5)
    assert len(rollouts) == 80
    assert all(len(rollout) for rollout in rollouts)


def test_the_budget_ends_a_rollout_whoever_writes(engines: EnginePair, prompts: list[Prompt], authors: Authors) -> None:
    for schedule in (SOLO, WORD, JUNIOR_ALONE):
        for rollout in write(engines, prompts, schedule, f"budget-{schedule.prob_senior}", max_tokens=5):
            assert (len(rollout), rollout.end) == (5, EndReason.BUDGET)
            assert not set(rollout.token_ids.tolist()) & set(authors.eos_ids)


def test_end_of_sequence_ends_a_rollout_and_is_part_of_it(engines: EnginePair, prompts: list[Prompt], authors: Authors) -> None:
    rollouts = write(engines, prompts, WORD, "eos", temperature=0)
    ended = [rollout for rollout in rollouts if rollout.end is EndReason.EOS]
    assert len(ended) > 8
    for rollout in ended:
        assert rollout.token_ids[-1] in authors.eos_ids
        assert not set(rollout.token_ids[:-1].tolist()) & set(authors.eos_ids)
        assert "boxed" in rollout.text


def test_the_sentinel_never_occurs(engines: EnginePair, prompts: list[Prompt], authors: Authors) -> None:
    # Hot enough for tokens that the model hardly ever writes.
    rollouts = write(engines, prompts, WORD, "sentinel", temperature=2.0, group_size=8)
    written = np.concatenate([rollout.token_ids for rollout in rollouts])
    assert len(np.unique(written)) > 80
    assert authors.sentinel not in written


def test_a_prompt_longer_than_the_context_is_refused(engines: EnginePair, authors: Authors) -> None:
    long = Prompt(Problem("long", "", ""), tuple([7] * authors.context))
    with pytest.raises(ValueError, match=f"has {authors.context} tokens"):
        write(engines, [long], WORD, "too-long")


def test_tokens_remember_the_version_of_their_authors_weights(engines: EnginePair, prompts: list[Prompt]) -> None:
    for rollout in write(engines, prompts[:4], WORD, "versions"):
        np.testing.assert_array_equal(rollout.weight_versions, np.where(rollout.authorship == SENIOR, 0, -1))
