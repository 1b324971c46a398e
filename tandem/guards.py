"""Checks that stop a run which does not do what its configuration says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from tandem.replay import DrawCounts, draws_of
from tandem.rollout import BASE_VERSION, SENIOR, Group, Rollout, Verdict
from tandem.runtime.errors import RunError
from tandem.schedule import COIN_SIDES, Schedule

CANARY_ROUNDING = 1e-3
"""The largest growth of the canary's gap, in nats, that is always taken as rounding."""
FALSE_ALARM = 1e-9
"""The largest probability with which the draws of a correct step may stop the run."""


class GuardError(RunError):
    """The run does not do what its configuration says; continuing would train something else."""


def check_any_finished(groups: Sequence[Group], deadline_s: float) -> None:
    """Raise `GuardError` when the deadline has dropped every group of the step."""
    if not groups:
        raise GuardError(
            f"no group of this step finished within rollout.straggler_deadline_s={deadline_s:g}: allow more time, or fewer "
            "tokens (rollout.sampling.max_tokens)"
        )


def check_authorship(groups: Sequence[Group], boundaries: np.ndarray, *, chosen_from: int | None = None) -> None:
    """Check the rollouts' authorship masks against the schedules of their groups.

    `boundaries` is the boundary table, uint8 [vocabulary]. `chosen_from` is the number of groups of which `groups` finished
    first; None: there were no others. Of the rollouts that their actor has checked (`Rollout.draws`), one of each group is
    checked again.

    Raises `GuardError` when a mask is missing, when it is not the one that the schedule implies for the tokens, or when the
    senior won more or fewer of the draws than chance explains.
    """
    wins: Counter[float] = Counter()
    tosses: Counter[float] = Counter()
    for group in groups:
        prob = group.schedule.threshold / COIN_SIDES  # `prob_senior`, as exactly as a coin has it
        sampled = group.rollouts[0].seed % len(group.rollouts)
        for index, rollout in enumerate(group.rollouts):
            draws = _checked_draws(rollout, group.schedule, boundaries, again=index == sampled)
            if not group.schedule.alternates:
                wins[prob] += draws.wins
                tosses[prob] += draws.tosses
    selections = math.comb(max(chosen_from or 0, len(groups)), len(groups))
    _check_draws([Coins(prob, wins[prob], tosses[prob]) for prob in sorted(tosses)], selections)


def _checked_draws(rollout: Rollout, schedule: Schedule, boundaries: np.ndarray, *, again: bool) -> DrawCounts:
    """Return how often `schedule` drew the author of `rollout`.

    Replays the schedule if the rollout's own actor has not, or `again`. Raises `GuardError` unless the draws give the rollout's
    mask, and are those that the actor counted.
    """
    if len(rollout.authorship) != len(rollout) or not len(rollout):
        raise GuardError(
            f"rollout {rollout.id}: its authorship mask has {len(rollout.authorship)} entries for {len(rollout)} tokens; "
            "without the mask this run would train as plain GRPO"
        )
    if rollout.draws and not again:
        return rollout.draws
    draws = draws_of(rollout, schedule, boundaries)
    if draws is None:
        raise GuardError(f"rollout {rollout.id}: its authorship mask is not what the schedule implies for its tokens")
    if rollout.draws not in (None, draws):
        raise GuardError(
            f"rollout {rollout.id}: its rollout actor counted {rollout.draws.wins} of {rollout.draws.tosses} draws for the "
            f"senior, and the schedule gives it {draws.wins} of {draws.tosses}: actor and driver follow different rules"
        )
    return draws


class Coins(NamedTuple):
    """The coins that a step's rollouts tossed at one probability."""

    prob_senior: float
    wins: int
    """those that the senior won"""
    tosses: int


def _check_draws(all_coins: Sequence[Coins], selections: int) -> None:
    """Raise `GuardError` when fair coins would hardly give the senior its wins.

    The masks follow from the coins. This checks the coins, which are not fair where rollouts share a seed.

    The wins are not binomial: authors write words and texts of different length, so the number of draws depends on who won
    them. But the likelihood ratio of any other probability to the schedule's is a martingale over the draws. So is the mean of
    this ratio over all other probabilities, which is 1 / (P * (tosses + 1)), where P is the binomial probability of the wins.
    A step may have schedules of several probabilities. The product of their means is a martingale too: each draw multiplies
    one factor and keeps its mean. By Ville's inequality, the product exceeds 1 / alpha with a probability of at most alpha,
    whenever rollouts end.

    The groups of this step are one of `selections` choices from the groups that might have finished, so alpha is divided by
    `selections`.
    """
    log_chance = sum(_log_binomial(*coins) + math.log(coins.tosses + 1) for coins in all_coins)
    if log_chance < math.log(FALSE_ALARM) - math.log(selections):
        shares = ", ".join(f"{wins} of {tosses} draws at schedule.prob_senior={prob:g}" for prob, wins, tosses in all_coins)
        raise GuardError(
            f"the senior won {shares} in this step: fair coins do this less than once in {1 / FALSE_ALARM:.0e} steps; the "
            "coins are not fair (do the rollouts have different seeds?)"
        )


def _log_binomial(prob: float, wins: int, draws: int) -> float:
    """Return the logarithm of the probability of `wins` in `draws`, each of which is won with `prob`."""
    losses = draws - wins
    if (wins and not prob) or (losses and prob == 1):
        return -math.inf
    log_ways = math.lgamma(draws + 1) - math.lgamma(wins + 1) - math.lgamma(losses + 1)
    return log_ways + (wins * math.log(prob) if wins else 0.0) + (losses * math.log1p(-prob) if losses else 0.0)


def check_finite_logprobs(groups: Sequence[Group]) -> None:
    """Raise `GuardError` when an engine reported a log-probability that is not finite for a token that it sampled."""
    for rollout in (rollout for group in groups for rollout in group.rollouts):
        for token in np.flatnonzero(~np.isfinite(rollout.logprobs)):
            senior = rollout.authorship[token] == SENIOR
            author, version = "senior" if senior else f"junior {rollout.junior}", rollout.weight_versions[token]
            if senior:
                source = f"weights of version {version}" + (", the base model's," if version == BASE_VERSION else "")
            else:
                source = f"weights (junior[{rollout.junior}])"
            raise GuardError(
                f"rollout {rollout.id}: the engine of the {author} gave token {token} the log-probability "
                f"{rollout.logprobs[token]:g}: its {source} hold NaN or infinite values, or overflow"
            )


def check_weight_version(groups: Sequence[Group], expected: int, max_staleness: int = 0) -> None:
    """Raise `GuardError` unless every senior token was sampled from version `expected` of the weights, or from one that is at
    most `max_staleness` older.
    """
    oldest = max(BASE_VERSION, expected - max_staleness)
    allowed = f"{expected}" if oldest == expected else f"{oldest} to {expected}"
    for group in groups:
        for rollout in group.rollouts:
            versions = np.unique(rollout.weight_versions[rollout.authorship == SENIOR])
            if any(not oldest <= version <= expected for version in versions):
                raise GuardError(
                    f"rollout {rollout.id} was sampled from weight versions {versions.tolist()}, not from {allowed}"
                )


def check_published(version: int, reported: Sequence[int]) -> None:
    """Raise `GuardError` unless every engine reports the version that was published."""
    for replica, engine_version in enumerate(reported):
        if engine_version != version:
            raise GuardError(
                f"the senior engine of rollout actor {replica} reports weight version {engine_version} after {version} was "
                "published"
            )


def check_unchanged(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> None:
    """Raise `GuardError` when the weights of a frozen junior changed. Checksums are by replica and junior."""
    if before != after:
        raise GuardError(f"a junior is frozen, but its weights changed: checksums {before} at the start, {after} now")


class VerdictGuard:
    """A check that the verifier works, over all answers of a run."""

    PROBLEMS: ClassVar = 8
    """The problems in a row without a verdict that stop a run; a single one may only be too hard for the verifier."""

    def __init__(self) -> None:
        self._unjudged = set[str]()
        """the ids of the problems since the last verdict"""

    def check(self, groups: Sequence[Group]) -> None:
        """Raise `GuardError` when no answer to the last `PROBLEMS` problems, those of `groups` the last, could be judged."""
        if any(verdict.judged for group in groups for verdict in group.verdicts):
            self._unjudged.clear()
            return
        self._unjudged.update(group.prompt.problem.id for group in groups)
        if len(self._unjudged) >= self.PROBLEMS:
            kinds = sorted({verdict.value for group in groups for verdict in group.verdicts})
            raise GuardError(
                f"none of the answers to the last {len(self._unjudged)} problems could be judged ({', '.join(kinds)}): the "
                "verifier is broken or too slow; correct data.verifier, or raise judge.timeout_s"
            )


def check_verdicts(groups: Sequence[Group]) -> str | None:
    """Return a warning when none of the answers is correct."""
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    if not any(verdict.judged for verdict in verdicts):
        return f"none of this step's {len(verdicts)} answers could be judged"
    if Verdict.CORRECT not in verdicts:
        return f"none of this step's {len(verdicts)} answers is correct: there is nothing to learn from it"
    return None


def check_counted(update_metrics: Mapping[str, float]) -> str | None:
    """Return a warning when no senior token counted in the update with these metrics."""
    if "policy/clip_fraction" in update_metrics:
        return None
    why = (
        "algo.mismatch masks them all" if update_metrics.get("mismatch/masked_fraction") == 1 else "the junior wrote all of it"
    )
    return f"no token of the senior's counts in this step's loss: {why}"


def check_skipped(in_a_row: float, limit: int) -> None:
    """Raise `GuardError` when the last `limit` optimizer steps (0: never) were skipped for gradients that were not finite."""
    if limit and in_a_row >= limit:
        raise GuardError(
            f"the last {in_a_row:.0f} optimizer steps were skipped, because their gradients were not finite "
            f"(guard.max_skipped_updates={limit}): the senior learns nothing any more; try a lower learner.lr"
        )


def check_logprob_gap(gap: float, limit: float, *, stale: bool = False) -> None:
    """Raise `GuardError` when engines and learner disagree: the weights did not arrive, or the two compute different models.

    `gap` is the mean |behavior - learner| log-probability of senior tokens before the update, in nats; `stale`: of rollouts
    that older weights wrote. The engines' own log-probabilities are finite (`check_finite_logprobs`), so that a gap that is not
    must come from the learner's.
    """
    prefix = "stale_" if stale else ""
    if not math.isfinite(gap):
        raise GuardError(
            f"logprob/{prefix}gap_mean={gap:g}: the learner's log-probabilities are NaN or infinite where the engines' are "
            "not: its weights hold such values, or overflow in learner.dtype"
        )
    if gap > limit:
        source = "the learner's weights"
        if stale:
            source += ", nor from those of the last steps; if the updates are this large, lower learner.lr or raise the limit"
        raise GuardError(
            f"logprob/{prefix}gap_mean={gap:.4g} exceeds guard.max_{prefix}logprob_gap={limit}: "
            f"the engines do not sample from {source}"
        )


def check_canary(gap: float, limit: float, before: float | None, change: float) -> None:
    """Raise `GuardError` when an engine's log-probabilities of fixed texts are not the learner's after a weight sync.

    `gap` is the mean |engine - learner| of the worst engine, in nats, `before` that after the weight sync before (None: there
    was none), and `change` the mean change of the learner's log-probabilities since then. In an engine with the new weights the
    gap is rounding, as it was before. In one that lacks the update, or a part of it, the gap grows by a share of `change`,
    however small the update is against `limit`.
    """
    if not gap <= limit:
        raise GuardError(
            f"weights/canary_gap={gap:.4g} exceeds guard.max_canary_gap={limit:g}: the engines do not compute with the "
            "learner's weights; resume the run, which sends all weights again. If the engines round that much "
            "(rollout.engine_args, model.dtype), raise the limit"
        )
    if before is not None and gap - before > max(CANARY_ROUNDING, 2 * before, change / 4):
        raise GuardError(
            f"weights/canary_gap={gap:.4g} after {before:.4g}, where the update changed the log-probabilities by {change:.4g} "
            f"(guard.max_canary_gap={limit:g}): an engine did not load the update, or only a part of it; resume the run, "
            "which sends all weights again. If this is wrong, set guard.max_canary_gap=0, which checks nothing"
        )
