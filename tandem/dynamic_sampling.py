"""Dynamic sampling: groups that teach nothing, because their rewards are all equal, are replaced by others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from tandem.rollout import Group


def is_uniform(group: Group) -> bool:
    """Whether the rewards are all equal, so that every advantage is zero."""
    return bool(np.ptp(group.rewards) == 0)


def sample(
    judged: Callable[[int], list[Group]], reject: Callable[[int], None], wanted: int, rounds: int
) -> tuple[list[Group], list[Group]]:
    """`wanted` groups from `judged`, which writes and judges so many others (DAPO, arXiv 2503.14476, section 3.2).

    As long as some are uniform or missing, `reject` is told how many and as many are asked for again, `rounds` times at most.
    What is missing then is made up for with uniform groups. Without rounds all groups are learnt from, as they come.

    Returns all groups that were judged and those to learn from, each in the order in which they came.
    """
    taken = judged(wanted)
    for _ in range(rounds):
        if not (missing := wanted - _mixed(taken)):
            break
        reject(missing)
        taken = taken + judged(missing)
    surplus = len(taken) - wanted
    learnt = []
    for group in taken:
        if surplus > 0 and is_uniform(group):
            surplus -= 1
        else:
            learnt.append(group)
    return taken, learnt


def _mixed(groups: Iterable[Group]) -> int:
    return sum(not is_uniform(group) for group in groups)
