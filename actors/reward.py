"""The reward actor: judges finished rollouts in worker processes of its own.

Only texts travel to it and only judgements back; token arrays stay where they are. `ray.remote(RewardActor)` makes the actor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError

from tandem.config import JudgeConfig
from tandem.rollout import Group
from tandem.verify.pool import Judgement, VerifierPool


class RewardActor:
    """Hosts a `VerifierPool` with the verifier of that dotted path. Its workers end when the actor does, however it ends.

    Raises `ValueError` when `config` holds a limit or an answer pattern that cannot be used.
    """

    def __init__(self, config: JudgeConfig, verifier: str = "") -> None:
        self._pool = VerifierPool(config.workers, config.timeout_s, config.memory_gib, config.answer_pattern, verifier)

    def grade(self, items: Sequence[tuple[str, str]]) -> list[Judgement]:
        """The judgements of (gold answer, response) pairs, in their order; see `VerifierPool.grade`."""
        return self._pool.grade(items)

    def close(self) -> None:
        """Ends the worker processes."""
        self._pool.close()


def judge_groups(actor: ActorHandle, groups: Sequence[Group], timeout_s: float) -> None:
    """Has `actor` judge every rollout's text and fills in each group's judgements.

    Raises `TimeoutError` when that takes longer than `timeout_s` for all of them.
    """
    items = [(group.prompt.problem.answer, rollout.text) for group in groups for rollout in group.rollouts]
    try:
        judgements: Iterator[Judgement] = iter(ray.get(actor.grade.remote(items), timeout=timeout_s))
    except GetTimeoutError as error:
        raise TimeoutError(f"the reward actor did not judge {len(items)} answers within {timeout_s:g} s") from error
    for group in groups:
        group.judgements = [next(judgements) for _ in group.rollouts]
