"""What stops a run that is not doing what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tandem.errors import RunError
from tandem.rollout import BASE_VERSION, SENIOR, Group, Verdict
from tandem.schedule import COIN_SIDES, Schedule, replay_draws

FALSE_ALARM = 1e-9
"""The most probable that it may be for the draws of a correct step to stop the run."""


class GuardError(RunError):
    """The run is not doing what its configuration says; going on would train something else."""


def check_any_finished(groups: Sequence[Group], deadline_s: float) -> None:
    """Raises `GuardError` when the deadline has dropped every group of the step."""
    if not groups:
        raise GuardError(
            f"no group of this step finished within rollout.straggler_deadline_s={deadline_s:g}: allow more time, or fewer "
            "tokens (rollout.sampling.max_tokens)"
        )


def check_authorship(
    groups: Sequence[Group], schedule: Schedule, boundaries: np.ndarray, *, chosen_from: int | None = None
) -> None:
    """Raises `GuardError` when a mask is missing, when it is not the one that the schedule implies for the rollout's tokens, or
    when the senior won more or fewer of the draws than chance explains (see `_check_draws`).

    `groups` are the first to finish of `chosen_from` groups; None: there were no others.
    """
    wins = draws = 0
    for rollout in (rollout for group in groups for rollout in group.rollouts):
        if len(rollout.authorship) != len(rollout) or not len(rollout):
            raise GuardError(
                f"rollout {rollout.id}: its authorship mask has {len(rollout.authorship)} entries for {len(rollout)} tokens; "
                "without the mask this run would train as plain GRPO"
            )
        implied, drawn = replay_draws(schedule, boundaries, rollout.seed, rollout.token_ids, rollout.breaks)
        if not np.array_equal(rollout.authorship, implied):
            raise GuardError(f"rollout {rollout.id}: its authorship mask is not what the schedule implies for its tokens")
        wins += int(np.count_nonzero(implied[drawn] == SENIOR))
        draws += int(np.count_nonzero(drawn))
    if not schedule.alternates:
        _check_draws(wins, draws, schedule, math.comb(max(chosen_from or 0, len(groups)), len(groups)))


def _check_draws(wins: int, draws: int, schedule: Schedule, selections: int) -> None:
    """Raises `GuardError` when coins of the schedule's probability would hardly give the senior `wins` of `draws`.

    The masks follow from the coins; this says whether the coins are fair, which those of rollouts with one and the same seed
    would not be. How many draws a rollout has depends on who won them, for authors differ in the length of their words and
    texts, so that `wins` is not binomial. But the likelihood ratio of a coin with another probability to the schedule's is a
    martingale over the draws, and so is its mean over all probabilities, which is 1 / (P * (draws + 1)) with the binomial
    probability P of `wins`. By Ville's inequality it exceeds 1 / alpha with a probability of at most alpha, whenever rollouts
    end. There are `selections` ways to choose the groups of this step from those that might have been its groups, and alpha
    is shared among them.
    """
    prob = schedule.threshold / COIN_SIDES  # `prob_senior`, as exactly as a coin has it
    log_chance = _log_binomial(wins, draws, prob) + math.log(draws + 1)
    if log_chance < math.log(FALSE_ALARM) - math.log(selections):
        raise GuardError(
            f"the senior won {wins} of this step's {draws} draws, but schedule.prob_senior={prob:g}: chance would do this less "
            f"than once in {1 / FALSE_ALARM:.0e} steps; the coins are not fair (do the rollouts have different seeds?)"
        )


def _log_binomial(wins: int, draws: int, prob: float) -> float:
    """The logarithm of the probability of `wins` in `draws`, each of which is won with `prob`."""
    losses = draws - wins
    if (wins and not prob) or (losses and prob == 1):
        return -math.inf
    log_ways = math.lgamma(draws + 1) - math.lgamma(wins + 1) - math.lgamma(losses + 1)
    return log_ways + (wins * math.log(prob) if wins else 0.0) + (losses * math.log1p(-prob) if losses else 0.0)


def check_finite_logprobs(groups: Sequence[Group]) -> None:
    """Raises `GuardError` when an engine reported a log-probability that is not a finite number for a token that it sampled."""
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
    """Raises `GuardError` unless every senior token was sampled from version `expected` of the weights, or from one that is at
    most `max_staleness` older.
    """
    oldest = max(BASE_VERSION, expected - max_staleness)
    wanted = f"{expected}" if oldest == expected else f"{oldest} to {expected}"
    for group in groups:
        for rollout in group.rollouts:
            versions = np.unique(rollout.weight_versions[rollout.authorship == SENIOR])
            if any(not oldest <= version <= expected for version in versions):
                raise GuardError(
                    f"rollout {rollout.id} was sampled from weight versions {versions.tolist()}, not from {wanted}"
                )


def check_published(version: int, reported: Sequence[int]) -> None:
    """Raises `GuardError` unless every engine reports the version that was published."""
    for replica, got in enumerate(reported):
        if got != version:
            raise GuardError(
                f"the senior engine of rollout actor {replica} reports weight version {got} after {version} was published"
            )


def check_unchanged(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> None:
    """Raises `GuardError` when a frozen junior's weights are not what they were; checksums by replica and junior."""
    if before != after:
        raise GuardError(f"a junior is frozen, but its weights changed: checksums {before} at the start, {after} now")


def check_verdicts(groups: Sequence[Group]) -> str | None:
    """Raises `GuardError` when every verdict is an error or a timeout (the verifier is broken); returns a warning when all
    rewards are honest zeros.
    """
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    if all(verdict in (Verdict.ERROR, Verdict.TIMEOUT) for verdict in verdicts):
        counts = {verdict.value: verdicts.count(verdict) for verdict in set(verdicts)}
        raise GuardError(f"none of this step's answers could be judged ({counts}): the verifier is broken or too slow")
    if Verdict.CORRECT not in verdicts:
        return f"none of this step's {len(verdicts)} answers is correct: there is nothing to learn from it"
    return None


def check_counted(learned: Mapping[str, float]) -> str | None:
    """Return a warning when no token of the senior's counted in an update, whose metrics are `learned`."""
    if "policy/clip_fraction" in learned:
        return None
    why = "algo.mismatch masks them all" if learned.get("mismatch/masked_fraction") == 1 else "the junior wrote all of it"
    return f"no token of the senior's counts in this step's loss: {why}"


def check_skipped(in_a_row: float, limit: int) -> None:
    """Raises `GuardError` when the last `limit` optimizer steps were skipped for gradients that were not finite (0: never)."""
    if limit and in_a_row >= limit:
        raise GuardError(
            f"the last {in_a_row:.0f} optimizer steps were skipped, because their gradients were not finite "
            f"(guard.max_skipped_updates={limit}): the senior learns nothing any more; try a lower learner.lr"
        )


def check_logprob_gap(gap: float, limit: float) -> None:
    """Raises `GuardError` when behaviour and learner disagree: the weights did not arrive, or the two compute different models.

    `gap` is the mean |behaviour - learner| log-probability of senior tokens before the update, in nats. The engines' own
    log-probabilities are finite (`check_finite_logprobs`), so that a gap that is not must come from the learner's.
    """
    if not math.isfinite(gap):
        raise GuardError(
            f"logprob/gap_mean={gap:g}: the learner's log-probabilities are NaN or infinite where the engines' are not: its "
            "weights hold such values, or overflow in learner.dtype"
        )
    if gap > limit:
        raise GuardError(
            f"logprob/gap_mean={gap:.4g} exceeds guard.max_logprob_gap={limit}: "
            "the engines do not sample from the learner's weights"
        )
