"""What is held out for evaluation: a hash of a problem's id decides, which no seed, file order or later run changes."""

from __future__ import annotations

import hashlib

from tandem.rollout import Problem


def position(id_: str) -> float:
    """Where in [0, 1) a hash of its id puts a problem."""
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=6).digest()) / 2**48


def held_out(problem: Problem, fraction: float) -> bool:
    """Whether a problem is among the `fraction` that is held out."""
    return position(problem.id) < fraction
