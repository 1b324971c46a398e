"""Tests of the measures: pass@k, intervals, dialects, and statistics of two models' distributions."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from tandem.data.arith import DIALECTS, dialect, draw
from tandem.measures import texts
from tandem.measures.distributions import divergences
from tandem.measures.legibility import Pace, as_written, legibility_scores
from tandem.measures.passk import pass_at_k
from tandem.measures.score import Score
from tandem.measures.scoring import ScoringModel, Text, token_cross_entropy, token_values
from tandem.rollout import EndReason, Group, Verdict
from tandem.schedule import SOLO, Schedule
from tests.support.builders import WORD, judged_group, save_model, scheduled_rollout, small_tokenizer

# pass@k


@given(st.data())
def test_pass_at_k_is_share_of_subsets_with_correct_text(data: st.DataObject) -> None:
    samples = data.draw(st.integers(1, 9))
    correct, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    subsets = list(combinations([True] * correct + [False] * (samples - correct), k))
    assert pass_at_k(samples, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


@given(samples=st.integers(1, 300), data=st.data())
def test_pass_at_k_in_closed_form(samples: int, data: st.DataObject) -> None:
    correct, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    missed = math.prod((samples - correct - i) / (samples - i) for i in range(k))
    assert pass_at_k(samples, correct, k) == pytest.approx(1 - max(missed, 0.0), abs=1e-9)
    assert pass_at_k(samples, correct, 1) == pytest.approx(correct / samples)


def test_pass_at_k_is_unbiased() -> None:
    chance, samples, k = 0.3, 6, 3
    estimates = [pass_at_k(samples, int(c), k) for c in np.random.default_rng(0).binomial(samples, chance, 20_000)]
    assert np.mean(estimates) == pytest.approx(1 - (1 - chance) ** k, abs=0.01)


@pytest.mark.parametrize(("samples", "correct", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1)])
def test_pass_at_more_than_samples_is_refused(samples: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="is not defined"):
        pass_at_k(samples, correct, k)


# Scores and their intervals


def test_score_is_ratio_of_sums() -> None:
    assert Score(np.array([6.0, 1.0]), np.array([2.0, 5.0])).value == 1.0
    assert Score.mean_of([0, 1, 1]).value == pytest.approx(2 / 3)


def test_intervals_have_nominal_coverage() -> None:
    random, covered = np.random.default_rng(1), 0
    for seed in range(300):
        tokens = random.integers(1, 30, 80)
        nats = tokens * 0.7 + random.normal(0, 1, 80) * np.sqrt(tokens)  # 0.7 nats per token, independent of the text's length
        low, high = Score(nats, tokens.astype(float)).interval(0.9, 300, seed)
        covered += low <= 0.7 <= high
    assert 0.84 <= covered / 300 <= 0.95


def test_interval_is_function_of_its_seed() -> None:
    score = Score.mean_of(np.random.default_rng(0).random(50))
    low, high = score.interval(0.95, 500, seed=3)
    assert (low, high) == score.interval(0.95, 500, seed=3) != score.interval(0.95, 500, seed=4)
    assert low < score.value < high
    narrower = score.interval(0.5, 500, seed=3)
    assert low < narrower[0] and narrower[1] < high


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 99))
def test_macro_average_is_the_mean_over_sets(sizes: list[int], seed: int) -> None:
    sets, random = np.repeat(np.arange(len(sizes)), sizes), np.random.default_rng(seed)
    score = Score.mean_of(random.random(len(sets)))
    means = [score.of(sets == index).value for index in range(len(sizes))]
    assert score.macro(sets).value == pytest.approx(np.mean(means))
    ratio = Score(score.totals, score.weights * 2).macro(sets)
    assert ratio.value == pytest.approx(np.mean(means) / 2)
    low, high = Score.mean_of(sets.astype(float)).macro(sets).interval(0.95, 200, seed)
    assert low == pytest.approx(high), "resamples keep the size of each set"


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [(np.zeros(30), 0.0, 0.11352), (np.ones(30), 0.88648, 1.0), ([1.0], 0.20655, 1.0), ([0.5], 0.05462, 0.94538)],
)
def test_share_without_spread_has_wilson_interval_of_its_problems(values: list[float], low: float, high: float) -> None:
    assert Score.mean_of(values, share=True).interval(0.95, 100, seed=0) == pytest.approx((low, high), abs=1e-5)
    narrower = Score.mean_of(values, share=True).interval(0.5, 100, seed=0)
    assert low <= narrower[0] < narrower[1] <= high and narrower[1] - narrower[0] < high - low
    assert Score.mean_of(values).interval(0.95, 100, seed=0) == (values[0], values[0]), "nats are no share"


def test_share_without_spread_counts_sets_by_their_weight() -> None:
    """The mean of 30 and of 500 problems is as precise as 4 / (1/30 + 1/500) = 113 problems."""
    sets = np.repeat([0, 1], [30, 500])
    wrong = Score.mean_of(np.zeros(530), share=True)
    assert wrong.macro(sets).interval(0.95, 100, seed=0) == pytest.approx((0, 3.8415 / (113.2 + 3.8415)), abs=1e-4)
    assert wrong.of(sets == 0).interval(0.95, 100, seed=0) == pytest.approx((0, 0.11352), abs=1e-5)


# Judged texts


@pytest.fixture
def groups() -> list[Group]:
    """Two problems with four texts each, of which three and none are correct; the first problem's texts are longer."""
    boundaries = np.ones(5, np.uint8)
    right, wrong = Verdict.CORRECT, Verdict.WRONG

    def group(length: int, verdicts: list[Verdict], text: str) -> Group:
        rollouts = [scheduled_rollout(Schedule(0.5, 1), boundaries, seed, [1] * length) for seed in range(4)]
        return judged_group([replace(rollout, text=text) for rollout in rollouts], verdicts)

    plain, jargon = (DIALECTS[name](draw(Random(1)), 0, Random(1)) for name in ("plain", "jargon"))
    return [group(8, [right, wrong, right, right], plain), group(2, [wrong] * 4, jargon)]


def test_scores_of_judged_texts(groups: list[Group]) -> None:
    assert texts.accuracy(groups).value == 3 / 8
    passes = texts.passes(groups, [1, 2, 4])
    assert passes["pass@1"].totals.tolist() == texts.accuracy(groups).totals.tolist()
    assert {name: score.value for name, score in passes.items()} == {"pass@1": 3 / 8, "pass@2": 1 / 2, "pass@4": 1 / 2}
    assert texts.length(groups).value == 5
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    assert texts.senior_share(groups).value == np.concatenate([rollout.authorship for rollout in rollouts]).mean()
    assert texts.handoffs(groups).value == np.mean([rollout.handoffs for rollout in rollouts])
    assert texts.jargon_share(groups).value == 0.5
    by_dialect = texts.accuracies_by_dialect(groups)
    assert {name: score.value for name, score in by_dialect.items()} == {"plain_accuracy": 3 / 4, "jargon_accuracy": 0}
    shares = [texts.accuracy(groups), *passes.values(), texts.jargon_share(groups), *by_dialect.values()]
    assert all(score.share for score in shares)
    assert not any(score.share for score in (texts.length(groups), texts.handoffs(groups)))
    assert set(texts.accuracies_by_dialect(groups[:1])) == {"plain_accuracy"}, "no text is in jargon"


def test_retention_is_ratio_of_pass_rates_over_same_problems() -> None:
    rollouts = [scheduled_rollout(WORD, np.ones(5, np.uint8), seed, [1] * 3) for seed in range(4)]
    right, wrong = Verdict.CORRECT, Verdict.WRONG
    solo = [judged_group(rollouts, verdicts) for verdicts in ([right] * 4, [right, wrong, wrong, wrong], [wrong] * 4)]
    team = [judged_group(rollouts, verdicts) for verdicts in ([right] * 3 + [wrong], [wrong] * 4, [right, wrong, wrong, wrong])]
    scores = texts.retentions(team, solo, [1, 4])
    assert {name: score.value for name, score in scores.items()} == {"retention@1": 4 / 5, "retention@4": 1.0}
    low, high = scores["retention@1"].interval(0.95, 2000, seed=1)
    assert low < 4 / 5 < high, "both authors' texts are resampled"
    assert texts.retentions(team, [judged_group(rollouts, [wrong] * 4)] * 3, [1, 4]) == {}, "nothing is retained of nothing"


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(DIALECTS)), slip=st.sampled_from([0.0, 0.3]))
def test_dialect_of_solution_is_recognized(seed: int, name: str, slip: float) -> None:
    assert dialect(DIALECTS[name](draw(Random(seed)), slip, Random(seed))) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", None), ("I do not know.", None), ("#64\nStart with 46.", None), ("#64\n!3>34\nThe answer is 4.", "jargon")],
)
def test_dialect_of_mixed_text_is_that_of_most_lines(text: str, expected: str | None) -> None:
    assert dialect(text) == expected


# Distributions


@given(st.integers(0, 1000))
def test_divergences_equal_those_of_full_distributions(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = (torch.randn(5, 11, generator=generator) * 3 for _ in range(2))
    p, q = (torch.distributions.Categorical(logits=logits.double()) for logits in (ours, theirs))
    one, other = divergences(ours, theirs)
    torch.testing.assert_close(one.double(), torch.distributions.kl_divergence(p, q), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other.double(), torch.distributions.kl_divergence(q, p), atol=1e-5, rtol=1e-5)
    assert divergences(ours, ours)[0].abs().max() < 1e-6
    # Tokens of only one vocabulary do not count.
    wider = torch.cat([theirs, torch.full((5, 2), 9.0)], dim=1)
    torch.testing.assert_close(divergences(ours, wider), (one, other))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two random models of different sizes and vocabularies, with distributions far from uniform."""
    folder = tmp_path_factory.mktemp("models")
    shapes = [{"hidden_size": 24, "num_hidden_layers": 2}, {"vocab_size": 328, "tie_word_embeddings": True}]
    return [
        save_model(folder / str(index), small_tokenizer(), initializer_range=0.3, **shape) for index, shape in enumerate(shapes)
    ]


def both_divergences(targets: torch.Tensor, *logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
    first, second = logits
    return divergences(first, second)


def test_scoring_agrees_with_plain_transformers(models: list[Path]) -> None:
    random = Random(5)
    written = [
        Text([random.randrange(320) for _ in range(random.randint(1, 9))], [random.randrange(320) for _ in range(length)])
        for length in (1, 30, 7, 7, 12, 3)
    ]
    readers = [ScoringModel(path, "float32", "cpu") for path in models]
    nats, apart = (
        np.stack([each.sum(1) for each in token_values(statistic, readers, written, batch_tokens=40, chunk_tokens=5)], axis=1)
        for statistic in (token_cross_entropy, both_divergences)
    )
    plain = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in models]
    for index, text in enumerate(written):
        ids = torch.tensor([[*text.prompt_ids, *text.token_ids]])
        start = len(text.prompt_ids) - 1
        with torch.no_grad():
            logits = [model(ids).logits[0, start:-1] for model in plain]
        targets = torch.tensor(text.token_ids)
        for kind, each in enumerate(logits):
            expected = -each.log_softmax(-1).gather(1, targets[:, None]).sum().item()
            assert nats[kind, index] == pytest.approx(expected, abs=1e-4)
        p, q = (torch.distributions.Categorical(logits=each[:, :320]) for each in logits)
        for kind, (one, other) in enumerate([(p, q), (q, p)]):
            expected = torch.distributions.kl_divergence(one, other).sum().item()
            assert apart[kind, index] == pytest.approx(expected, abs=1e-4)
    assert (apart > 1).all(), "the models differ"


def test_legibility_averages_by_text_and_problem_without_end_of_sequence(models: list[Path]) -> None:
    """The two texts of the first problem have 8 and 3 tokens, one of which ends; one of the second is nothing but an end."""
    junior, boundaries = ScoringModel(models[0], "float32", "cpu"), np.ones(320, np.uint8)
    texts = [[range(20, 28), [*range(30, 32), 1]], [[1], range(40, 45)]]
    groups = []
    for number, of_problem in enumerate(texts):
        rollouts = [scheduled_rollout(SOLO, boundaries, number, token_ids) for token_ids in of_problem]
        for rollout in rollouts:
            rollout.end = EndReason.EOS if rollout.token_ids[-1] == 1 else EndReason.BUDGET
        groups.append(judged_group(rollouts, [Verdict.WRONG] * 2))
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    written = [as_written(group.prompt, rollout) for group in groups for rollout in group.rollouts]
    long, short, _, other = nats = [
        values[0] for values in token_values(token_cross_entropy, [junior], written, batch_tokens=40, chunk_tokens=5)
    ]
    scores = legibility_scores(junior, groups, [replace(groups[1], rollouts=rollouts[2:3])], as_written, Pace(40, 5))
    by_problem = [(long.mean() + short[:-1].mean()) / 2, other.mean()]
    assert scores["legibility/senior_text"].totals == pytest.approx(by_problem)
    assert scores["legibility/senior_text"].value == pytest.approx(np.mean(by_problem))
    assert scores["legibility/senior_text_pooled"].value == pytest.approx(np.concatenate(nats).mean())
    assert "legibility/junior_text" not in scores and "legibility/junior_text_pooled" in scores


def test_model_that_changes_logits_after_head_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "scaled", None, logit_scale=2.0)
    with pytest.raises(ValueError, match="logit_scale are not supported"):
        ScoringModel(folder, "float32", "cpu")
