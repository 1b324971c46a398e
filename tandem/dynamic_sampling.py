"""Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): replace constant groups, which teach nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.rollout import Group


def count_missing(groups: Sequence[Group], wanted: int) -> int:
    """Return how many groups that are not constant `groups` lacks of `wanted`."""
    return max(0, wanted - sum(not group.constant for group in groups))


def select(groups: Sequence[Group], wanted: int) -> list[Group]:
    """Return `groups` without the first constant ones beyond `wanted`. At most `wanted` groups may not be constant."""
    surplus = len(groups) - wanted
    selected = []
    for group in groups:
        if surplus > 0 and group.constant:
            surplus -= 1
        else:
            selected.append(group)
    return selected
