"""Metrics of a step's rollouts, of its update and of the time it took, under the names that metrics.jsonl uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter, time

import numpy as np

from tandem.rollout import AUTHOR_NAMES, JUNIOR, SENIOR, Group, Rollout, Verdict
from tandem.runtime.trace import Span


def rollout_metrics(groups: Sequence[Group], juniors: int = 1) -> dict[str, float]:
    """Return rewards, verdicts, lengths and authorship of one step's judged groups; with several juniors also by junior."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    rewards = np.concatenate([group.rewards for group in groups])
    tokens = sum(len(rollout) for rollout in rollouts)
    senior_fraction = senior_token_fraction(groups)
    juniors_wrote = juniors > 1 and senior_fraction < 1
    return {
        "reward/mean": float(rewards.mean()),
        "reward/correct": accuracy(groups),
        "reward/std": float(rewards.std()),
        "reward/wrong": verdicts.count(Verdict.WRONG),
        "reward/timeouts": verdicts.count(Verdict.TIMEOUT),
        "reward/unparsable": verdicts.count(Verdict.UNPARSABLE),
        "reward/errors": verdicts.count(Verdict.ERROR),
        **{f"reward/terms/{name}": mean for name, mean in _term_means(groups).items()},
        "reward/constant_groups": float(np.mean([group.constant for group in groups])),
        "tandem/senior_token_fraction": senior_fraction,
        "tandem/handoffs_per_rollout": float(np.mean([rollout.handoffs for rollout in rollouts])),
        "rollout/tokens": tokens,
        "rollout/tokens_mean": tokens / len(rollouts),
        "rollout/truncated_fraction": float(np.mean([rollout.truncated for rollout in rollouts])),
    } | (_metrics_by_junior(rollouts, rewards, juniors) if juniors_wrote else {})


def _term_means(groups: Sequence[Group]) -> dict[str, float]:
    """Return the mean of each reward term."""
    names = groups[0].reward_terms
    return {name: float(np.mean(np.concatenate([group.reward_terms[name] for group in groups]))) for name in names}


def _metrics_by_junior(rollouts: Sequence[Rollout], rewards: np.ndarray, juniors: int) -> dict[str, float]:
    """Return each junior's share of the rollouts and, if it has any, their mean reward."""
    writers = np.array([rollout.junior for rollout in rollouts])
    shares = {f"junior/{junior}/share": float(np.mean(writers == junior)) for junior in range(juniors)}
    means = {f"junior/{junior}/reward_mean": float(rewards[writers == junior].mean()) for junior in np.unique(writers)}
    return shares | means


def senior_token_fraction(groups: Sequence[Group]) -> float:
    """Return the share of all tokens that the senior wrote."""
    masks = [rollout.authorship for group in groups for rollout in group.rollouts]
    return float(np.mean(np.concatenate(masks) == SENIOR))


def turn_lengths(groups: Sequence[Group]) -> dict[str, np.ndarray]:
    """Return the lengths of each author's turns in tokens, int64 [turns]. Authors without a turn are left out."""
    turns = [turn for group in groups for rollout in group.rollouts for turn in rollout.turns]
    lengths = {
        f"turns/{AUTHOR_NAMES[author]}_tokens": np.array([turn.stop - turn.start for turn in turns if turn.author == author])
        for author in (SENIOR, JUNIOR)
    }
    return {key: values for key, values in lengths.items() if len(values)}


def accuracy(groups: Sequence[Group]) -> float:
    """Return the share of rollouts with a correct answer."""
    return float(np.mean([verdict is Verdict.CORRECT for group in groups for verdict in group.verdicts]))


LOSSES = {"loss/policy": "policy_loss", "loss/kl_reference": "kl_reference", "loss/kl_junior": "kl_junior"}
"""Metrics that are means over the optimizer steps, with the name of their sum."""
MEANS = {
    "policy/clip_fraction": ("clipped", "tokens"),
    "policy/ratio_mean": ("ratio", "tokens"),
    "policy/entropy": ("entropy", "senior"),
    "logprob/gap_mean": ("gap", "gap_tokens"),
    "logprob/stale_gap_mean": ("stale_gap", "stale_gap_tokens"),
    "mismatch/weight_mean": ("correction", "corrected"),
    "mismatch/masked_fraction": ("masked", "corrected"),
    "learner/useful_token_fraction": ("real", "padded"),
}
"""Metrics that are means over tokens, with the names of their sum and of the number of tokens.

Clip fraction and ratio are over the senior's tokens with a coefficient, so not over those that `algo.mismatch` masks. Entropy
and the mismatch metrics are over all of the senior's tokens, the gap over those of rollouts that the current weights sampled,
the stale gap over the others.
"""


def step_metrics(sums: Mapping[str, float], mini_batches: int) -> dict[str, float]:
    """Return the metrics of a step from its `sums` over all micro-batches and ranks and its `mini_batches` optimizer steps.

    A mean over no tokens is left out. Without an optimizer step the policy loss is 0.
    """
    losses = {name: sums[total] / mini_batches for name, total in LOSSES.items() if total in sums}
    means = {name: sums[total] / sums[count] for name, (total, count) in MEANS.items() if sums.get(count)}
    return {"loss/policy": 0.0, "learner/tokens": sums.get("real", 0.0)} | losses | means


class PhaseTimer:
    """Measures the phases of one step."""

    def __init__(self) -> None:
        self._start = perf_counter()
        self.seconds: dict[str, float] = {}
        self.spans: list[Span] = []
        """the phases in the order of their ends"""

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the time of the block to `phase`."""
        start, wall_s = perf_counter(), time()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + perf_counter() - start
        self.spans.append(Span(phase, "phases", wall_s, time()))

    def metrics(self) -> dict[str, float]:
        """Return time/PHASE_s for every phase, and time/step_s since the timer was created."""
        return {f"time/{phase}_s": spent for phase, spent in self.seconds.items()} | {
            "time/step_s": perf_counter() - self._start
        }
