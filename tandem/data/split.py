"""The split into training and held-out problems. It depends on a hash of a problem's id alone, not on seed or file order."""

from __future__ import annotations

import hashlib

from tandem.rollout import Problem


def split_hash(id_: str) -> float:
    """Return the hash of a problem's id, scaled to [0, 1)."""
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=6).digest()) / 2**48


def held_out(problem: Problem, fraction: float) -> bool:
    """Whether a problem belongs to the held-out fraction."""
    return split_hash(problem.id) < fraction
