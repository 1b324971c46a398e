"""Small groups of random tokens."""

from __future__ import annotations

from tandem.data import random_groups as made
from tandem.rollout import Group


def random_groups(
    seed: int,
    *,
    groups: int = 4,
    size: int = 4,
    vocabulary: int = 200,
    tokens: tuple[int, int] = (4, 30),
    senior_share: float = 0.5,
) -> list[Group]:
    """Return `groups` groups of `size` rollouts with advantages (see `tandem.data.random_groups`)."""
    return made.random_groups(
        seed,
        groups=groups,
        size=size,
        vocabulary=vocabulary,
        prompt_tokens=(2, 8),
        tokens=tokens,
        senior_share=senior_share,
        logprob=-5.3,
    )
