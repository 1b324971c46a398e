"""Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): replace groups whose rewards are all equal, which teach nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tandem.rollout import Group


def is_uniform(group: Group) -> bool:
    """Whether the rewards are all equal, so that every advantage is zero."""
    return bool(np.ptp(group.rewards) == 0)


def count_missing(groups: Sequence[Group], wanted: int) -> int:
    """Return how many groups with unequal rewards `groups` lacks of `wanted`."""
    return max(0, wanted - sum(not is_uniform(group) for group in groups))


def select(groups: Sequence[Group], wanted: int) -> list[Group]:
    """Return `groups` without the first uniform ones beyond `wanted`. At most `wanted` groups may have unequal rewards."""
    surplus = len(groups) - wanted
    selected = []
    for group in groups:
        if surplus > 0 and is_uniform(group):
            surplus -= 1
        else:
            selected.append(group)
    return selected
