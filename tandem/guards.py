"""What stops a run that is not doing what it says."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tandem.metrics import senior_token_fraction
from tandem.rollout import BASE_VERSION, SENIOR, Group, Verdict
from tandem.schedule import Schedule, replay


class GuardError(RuntimeError):
    """The run is not doing what its configuration says; going on would train something else."""


def check_any_finished(groups: Sequence[Group], deadline_s: float) -> None:
    """Raises `GuardError` when the deadline has dropped every group of the step."""
    if not groups:
        raise GuardError(
            f"no group of this step finished within rollout.straggler_deadline_s={deadline_s:g}: allow more time, or fewer "
            "tokens (rollout.sampling.max_tokens)"
        )


def check_authorship(groups: Sequence[Group], schedule: Schedule, boundaries: np.ndarray, tolerance: float) -> None:
    """Raises `GuardError` when a mask is missing or constant, is not the one that the schedule implies for the rollout's
    tokens, or when the step's senior share is further than `tolerance` plus four standard errors from `prob_senior` (unless a
    junior has another tokenizer).
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    for rollout in rollouts:
        if len(rollout.authorship) != len(rollout) or not len(rollout):
            raise GuardError(
                f"rollout {rollout.id}: its authorship mask has {len(rollout.authorship)} entries for {len(rollout)} tokens; "
                "without the mask this run would train as plain GRPO"
            )
        implied = replay(schedule, boundaries, rollout.seed, rollout.token_ids, rollout.breaks)
        if not np.array_equal(rollout.authorship, implied):
            raise GuardError(f"rollout {rollout.id}: its authorship mask is not what the schedule implies for its tokens")
    share = senior_token_fraction(groups)
    if schedule.solo or schedule.alternates:
        return
    if share in (0.0, 1.0) and 0 < schedule.prob_senior < 1:
        raise GuardError(
            f"one author wrote all {len(rollouts)} rollouts of this step, though prob_senior={schedule.prob_senior}"
        )
    if any(rollout.breaks is not None for rollout in rollouts):
        return  # turns differ in length: the senior's end where a word begins, such a junior's where one ends
    # A rollout draws at its start and at least once for each handoff, which bounds the draws from below.
    draws = len(rollouts) + sum(rollout.handoffs for rollout in rollouts)
    error = math.sqrt(schedule.prob_senior * (1 - schedule.prob_senior) / draws)
    if abs(share - schedule.prob_senior) > tolerance + 4 * error:
        raise GuardError(
            f"the senior wrote {share:.3f} of this step's tokens, but schedule.prob_senior={schedule.prob_senior} "
            f"(tolerance guard.senior_fraction_tolerance={tolerance} + 4 x {error:.3f}): the schedule is not being followed"
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


def check_skipped(in_a_row: float, limit: int) -> None:
    """Raises `GuardError` when the last `limit` optimizer steps were skipped for gradients that were not finite (0: never)."""
    if limit and in_a_row >= limit:
        raise GuardError(
            f"the last {in_a_row:.0f} optimizer steps were skipped, because their gradients were not finite "
            f"(guard.max_skipped_updates={limit}): the senior learns nothing any more; try a lower learner.lr"
        )


def check_logprob_gap(gap: float, limit: float) -> None:
    """Raises `GuardError` when behaviour and learner disagree: the weights did not arrive, or the two compute different models.

    `gap` is the mean |behaviour - learner| log-probability of senior tokens before the update, in nats.
    """
    if not gap <= limit:
        raise GuardError(
            f"logprob/gap_mean={gap:.4g} exceeds guard.max_logprob_gap={limit}: "
            "the engines do not sample from the learner's weights"
        )
