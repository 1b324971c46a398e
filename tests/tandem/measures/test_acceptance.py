"""Tests of acceptance: the distributions that engines sample from, and the rounds of a speculative decoder."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.rollout import SamplingConfig
from tandem.measures.acceptance import LONGEST_DRAFT, accepted_and_rounds
from tandem.measures.distributions import acceptances, sampling_distribution

VOCABULARY = 7
SAMPLING = st.builds(
    SamplingConfig,
    temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    max_tokens=st.just(9),
    top_p=st.sampled_from([0.3, 0.8, 1.0]),
    top_k=st.sampled_from([0, 1, 3, 9]),
)


def random_logits(seed: int, rows: int, width: int = VOCABULARY) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) * 2


@given(seed=st.integers(0, 1000), sampling=SAMPLING)
def test_sampling_distribution_keeps_likeliest_tokens(seed: int, sampling: SamplingConfig) -> None:
    (logits,) = random_logits(seed, 1).double()
    if sampling.temperature == 0:
        kept, weights = [int(logits.argmax())], {int(logits.argmax()): 1.0}
    else:
        order = logits.argsort(descending=True).tolist()[: sampling.top_k or VOCABULARY]
        weights = {token: np.exp(float(logits[token]) / sampling.temperature) for token in order}
        total, kept = sum(weights.values()), []
        while sum(weights[token] for token in kept) < sampling.top_p * total * (1 - 1e-9) and len(kept) < len(order):
            kept.append(order[len(kept)])
    expected = [weights[token] / sum(weights[each] for each in kept) if token in kept else 0.0 for token in range(VOCABULARY)]
    (actual,) = sampling_distribution(logits[None].float(), sampling.temperature, sampling.top_k, sampling.top_p)
    assert actual.tolist() == pytest.approx(expected, abs=1e-5)


@given(seed=st.integers(0, 1000), sampling=SAMPLING)
def test_chance_of_emitted_token_averages_to_acceptance_rate(seed: int, sampling: SamplingConfig) -> None:
    """A drafted token is accepted with probability sum(min(p, q)), however the emitted tokens are weighed."""
    target, draft = random_logits(seed, 1), random_logits(seed + 5000, 1, VOCABULARY + 2)
    every = torch.arange(VOCABULARY)
    rate, chance = acceptances(target.expand(VOCABULARY, -1), draft.expand(VOCABULARY, -1), every, sampling)
    (p,) = sampling_distribution(target, sampling.temperature, sampling.top_k, sampling.top_p)
    (q,) = sampling_distribution(draft[:, :VOCABULARY], sampling.temperature)
    assert rate.tolist() == pytest.approx([float(torch.minimum(p, q).sum())] * VOCABULARY, abs=1e-6)
    assert float((p * chance).sum()) == pytest.approx(float(rate[0]), abs=1e-5)


def decode(accepted: tuple[bool, ...], draft: int) -> tuple[int, int]:
    """Return accepted tokens and rounds of a decoder that drafts `draft` tokens, of which it accepts the `accepted` ones."""
    at = total = rounds = 0
    while at < len(accepted):
        rounds += 1
        run = next((i for i, ok in enumerate(accepted[at : at + draft]) if not ok), min(draft, len(accepted) - at))
        total += run
        at += run + 1
    return total, rounds


@given(st.lists(st.sampled_from([0.0, 0.2, 0.7, 1.0]), min_size=1, max_size=8))
def test_rounds_equal_those_of_speculative_decoder(chances: list[float]) -> None:
    expected = np.zeros((2, LONGEST_DRAFT))
    for outcome in product([False, True], repeat=len(chances)):
        probability = np.prod([chance if ok else 1 - chance for chance, ok in zip(chances, outcome, strict=True)])
        for k in range(1, LONGEST_DRAFT + 1):
            expected[:, k - 1] += probability * np.array(decode(outcome, k))
    np.testing.assert_allclose(accepted_and_rounds(np.array(chances)), expected, atol=1e-9)


def test_equal_models_accept_every_draft() -> None:
    logits = random_logits(3, 50)
    rate, chance = acceptances(logits, logits, logits.argmax(-1), SamplingConfig(0.7, 9))
    assert rate.tolist() == pytest.approx([1.0] * 50)
    accepted, rounds = accepted_and_rounds(chance.numpy())
    drafts = np.arange(1, LONGEST_DRAFT + 1)
    assert rounds == pytest.approx(np.ceil(50 / (drafts + 1)))
    assert accepted == pytest.approx(50 - 50 // (drafts + 1)), "each whole round adds one token that was not drafted"
