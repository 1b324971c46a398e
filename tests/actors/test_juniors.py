"""Tests of several juniors: the draw, the configuration, their engines and metrics."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from actors.engine_layout import engine_specs
from tandem.authors import MOST_EXCLUDED, Authors, Junior, check_excluded, load_authors, with_senior
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config, ConfigError
from tandem.metrics import rollout_metrics
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, Group, Prompt, Verdict
from tandem.schedule import COIN_SIDES, Schedule, coin, draw_junior
from tests.support.builders import judged_group, save_model, scheduled_rollout, small_tokenizer
from tests.support.engine_pair import EnginePair
from tests.support.writing import forward_logprobs, group_tasks, only, write, write_groups

WORD, SOLO, JUNIOR_ALONE = Schedule(0.5, 32), Schedule(1.0), Schedule(0.0)
COPY, SMALL = 0, 1
"""The juniors of the session's engines."""

weights = st.lists(st.floats(0.05, 20), min_size=1, max_size=5)
seeds = st.integers(0, 2**32 - 1)


# The draw


@given(weights=weights, start=seeds)
def test_juniors_are_drawn_in_proportion_to_their_weights(weights: list[float], start: int) -> None:
    draws = 1000
    drawn = np.bincount([draw_junior(start + i, weights) for i in range(draws)], minlength=len(weights))
    shares = np.array(weights) / sum(weights)
    assert len(drawn) == len(weights)
    assert (np.abs(drawn - draws * shares) <= 1 + 6 * np.sqrt(draws * shares * (1 - shares))).all()


@given(weights=weights, scale=st.floats(0.1, 10), seed=seeds)
def test_only_proportions_of_weights_count(weights: list[float], scale: float, seed: int) -> None:
    tie = coin(seed, -1) / COIN_SIDES * sum(weights)
    if min(abs(np.cumsum(weights) - tie)) > 1e-9 * sum(weights):
        assert draw_junior(seed, weights) == draw_junior(seed, [scale * weight for weight in weights])


def test_draw_of_junior_is_independent_of_schedule() -> None:
    drawn = np.array([draw_junior(seed, [1, 1]) for seed in range(10_000)])
    coins = np.array([[coin(seed, position) < COIN_SIDES / 2 for position in range(40)] for seed in range(10_000)])
    correlations = [np.corrcoef(drawn, coins[:, position])[0, 1] for position in range(40)]
    assert np.abs(correlations).max() < 0.05


# The configuration


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """A small senior and a smaller model to pair it with."""
    config = Config()
    config.model.source, config.model.path = "hf", str(save_model(tmp_path / "senior", small_tokenizer(), vocab_size=384))
    config.data.source, config.model.word_boundary = "arith", "word_or_newline"
    config.junior = ["self", str(save_model(tmp_path / "junior", small_tokenizer(), hidden_size=8))]
    return config


def test_juniors_have_equal_weights_and_dtype_of_senior_by_default(settings: Config) -> None:
    authors = load_authors(settings)
    senior, other = (Path(path).resolve() for path in (settings.model.path, settings.junior[1]))
    narrow = len(small_tokenizer())
    assert authors.juniors == (Junior(senior, 1, "float32", 384), Junior(other, 1, "float32", narrow))
    settings.junior_weights, settings.junior_dtypes = [3.0, 1.0], ["float32", "bfloat16"]
    assert load_authors(settings).juniors == (Junior(senior, 3, "float32", 384), Junior(other, 1, "bfloat16", narrow))


def test_boundaries_cover_widest_model(settings: Config) -> None:
    assert load_authors(settings).vocabulary == 384
    settings.junior, settings.model.path = [settings.model.path], settings.junior[1]
    assert load_authors(settings).vocabulary == 384


@pytest.mark.parametrize(("beyond", "refused"), [(MOST_EXCLUDED, False), (MOST_EXCLUDED + 1, True)])
def test_junior_with_much_larger_vocabulary_is_refused_on_gpus(
    settings: Config, tmp_path: Path, beyond: int, refused: bool
) -> None:
    wide = str(save_model(tmp_path / "wide", small_tokenizer(), vocab_size=384 + beyond))
    settings.junior = ["self", wide]
    authors = load_authors(settings)
    with pytest.raises(ConfigError) if refused else nullcontext() as error:
        check_excluded(settings, authors)
    if error:
        assert str(error.value).startswith(f"junior[1]={wide}: its logits have {384 + beyond} entries and the senior's 384; ")
        assert "resize_token_embeddings(384)" in str(error.value)
    narrow = with_senior(load_authors(replace(settings, model=replace(settings.model, path=wide))), authors.senior, "senior")
    assert narrow.senior_vocabulary == 384, "an evaluated senior uses its own vocabulary"
    check_excluded(replace(settings, schedule=ScheduleConfig(name="solo")), authors)


def test_every_junior_gets_its_engine(settings: Config) -> None:
    settings.junior_dtypes = ["float32", "bfloat16"]
    (specs,) = engine_specs(settings, load_authors(settings), "cpu")
    senior, other = (str(Path(path).resolve()) for path in (settings.model.path, settings.junior[1]))
    assert [(spec.author, spec.junior, spec.model, spec.dtype) for spec in specs] == [
        (SENIOR, 0, senior, "float32"),
        (JUNIOR, 0, senior, "float32"),
        (JUNIOR, 1, other, "bfloat16"),
    ]


# The engines


@pytest.fixture(scope="module")
def models(authors: Authors, small_junior: Path) -> dict[tuple[int, int], torch.nn.Module]:
    """Return the model of each author and junior in transformers."""
    return {
        (SENIOR, COPY): AutoModelForCausalLM.from_pretrained(authors.senior, dtype=torch.float32),
        (JUNIOR, SMALL): AutoModelForCausalLM.from_pretrained(small_junior, dtype=torch.bfloat16),
    }


def test_rollout_is_written_by_senior_and_drawn_junior(
    engines: EnginePair, prompts: list[Prompt], authors: Authors, models: dict[tuple[int, int], torch.nn.Module]
) -> None:
    weights = (1.0, 3.0)
    rollouts = write(engines, prompts, WORD, "two-juniors", weights=weights, group_size=3, max_tokens=48)
    assert [rollout.junior for rollout in rollouts] == [draw_junior(rollout.seed, weights) for rollout in rollouts]
    assert 0.6 < np.mean([rollout.junior == SMALL for rollout in rollouts]) < 0.9
    apart = []
    for rollout in rollouts:
        np.testing.assert_array_equal(
            rollout.authorship, replay(WORD, authors.boundaries, rollout.seed, rollout.token_ids).authorship
        )
        senior, junior = rollout.authorship == SENIOR, rollout.authorship == JUNIOR
        by_senior = forward_logprobs(models[SENIOR, COPY], rollout)
        by_small = forward_logprobs(models[JUNIOR, SMALL], rollout)
        np.testing.assert_allclose(rollout.logprobs[senior], by_senior[senior], atol=1e-4)
        if rollout.junior == COPY:
            np.testing.assert_allclose(rollout.logprobs[junior], by_senior[junior], atol=1e-4)
        else:
            # Two implementations of bfloat16 differ in the third digit. What another author wrote would differ by nats.
            np.testing.assert_allclose(rollout.logprobs[junior], by_small[junior], atol=0.3)
            apart.append(np.abs(by_senior - by_small)[junior])
    assert np.concatenate(apart).mean() > 3


def test_waiting_for_busy_junior_does_not_block_senior(engines: EnginePair, prompts: list[Prompt]) -> None:
    crowd = group_tasks(prompts, JUNIOR_ALONE, "crowd", weights=only(SMALL), group_size=4)
    # Twice, since an engine's first steps are slow.
    warm_up, quick = (group_tasks(prompts[:4], SOLO, tag, max_tokens=2) for tag in ("warm-up", "quick"))
    engines.run(write_groups(engines, warm_up))

    async def both() -> tuple[int, list[Group]]:
        """Return how many groups of the busy junior were finished when the quick ones were, and all its groups."""
        writing = [asyncio.create_task(engines.actor.write_group(task)) for task in crowd]
        await asyncio.sleep(0.02)
        await write_groups(engines, quick)
        done = sum(task.done() for task in writing)
        return done, await asyncio.gather(*writing)

    done, groups = engines.run(both())
    # If senior slots were taken first, the busy junior would hold them until 48 of its 64 rollouts (12 groups) are finished.
    assert done < 8
    assert {rollout.junior for group in groups for rollout in group.rollouts} == {SMALL}


def test_checksum_of_every_junior_is_checked(engines: EnginePair) -> None:
    (senior,) = engines.run(engines.actor.checksums(SENIOR))
    copy, small, random, renumbered = engines.run(engines.actor.checksums(JUNIOR))
    assert copy == senior
    assert len({senior, small, random, renumbered}) == 4


# The metrics


def test_metrics_distinguish_juniors() -> None:
    boundaries = np.ones(5, np.uint8)
    juniors = [0, 2, 2, 2]
    rollouts = [replace(scheduled_rollout(WORD, boundaries, 1, [1, 2, 3]), junior=junior) for junior in juniors]
    right, wrong = Verdict.CORRECT, Verdict.WRONG
    groups = [judged_group(rollouts[:2], [wrong, right]), judged_group(rollouts[2:], [right, wrong])]
    by_junior = {key: value for key, value in rollout_metrics(groups, juniors=3).items() if key.startswith("junior/")}
    shares = {"junior/0/share": 0.25, "junior/1/share": 0, "junior/2/share": 0.75}
    assert by_junior == pytest.approx(shares | {"junior/0/reward_mean": 0, "junior/2/reward_mean": 2 / 3})
    assert not any(key.startswith("junior/") for key in rollout_metrics(groups))


@pytest.mark.slow
def test_junior_samples_only_ids_of_senior_vocabulary(
    config: Config, authors: Authors, prompts: list[Prompt], tmp_path: Path
) -> None:
    """For example, a Qwen2 with 152,064 rows next to one with 151,936. Here the senior lacks a quarter of the junior's rows."""
    wide = authors.vocabulary + authors.vocabulary // 3
    save_model(tmp_path, authors.tokenizer, vocab_size=wide, head_dim=32, initializer_range=0.2)
    pair_of = replace(config, junior=[str(tmp_path)])
    wide_authors = load_authors(pair_of)
    assert (wide_authors.senior_vocabulary, wide_authors.vocabulary) == (authors.vocabulary, wide)
    pair = EnginePair(engine_specs(pair_of, wide_authors, "cpu")[0])
    try:
        rollouts = write(pair, prompts, Schedule(0.3, 4), "wide")
    finally:
        pair.close()
    assert max(rollout.token_ids.max() for rollout in rollouts) < authors.vocabulary
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    model.lm_head.register_forward_hook(
        lambda *args: args[2].index_fill(-1, torch.arange(authors.vocabulary, wide), -torch.inf)
    )
    for rollout in rollouts:
        mine = rollout.authorship == JUNIOR
        np.testing.assert_allclose(rollout.logprobs[mine], forward_logprobs(model, rollout)[mine], atol=1e-4)
