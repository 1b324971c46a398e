"""Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): replace constant groups, which teach nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.rollout import Group


def count_missing(groups: Sequence[Group], count: int) -> int:
    """Return how many groups that are not constant `groups` lacks of `count`."""
    return max(0, count - sum(not group.constant for group in groups))


def select(groups: Sequence[Group], count: int) -> list[Group]:
    """Return `groups` without the first constant ones beyond `count`. At most `count` groups may not be constant."""
    surplus = len(groups) - count
    selected = []
    for group in groups:
        if surplus > 0 and group.constant:
            surplus -= 1
        else:
            selected.append(group)
    return selected
