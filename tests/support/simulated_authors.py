"""Simulated authors of random texts that follow a schedule, with different lengths of words and texts."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from tandem.rollout import JUNIOR, Group, Rollout
from tandem.schedule import Schedule
from tests.support.builders import judged_group, scheduled_rollout

WORDS = np.array([0, 1, 0], np.uint8)
"""Boundaries of a vocabulary of three tokens: inside a word, start of a word, end of the text."""
INSIDE, BEGINS, END = range(3)


def simulate(
    schedule: Schedule,
    boundary_rates: Mapping[int, float],
    end_rates: Mapping[int, float],
    *,
    seed: int,
    groups: int,
    size: int,
    tokens: int,
    translated: bool = False,
) -> list[Group]:
    """Return `groups` groups of `size` rollouts of at most `tokens` tokens each.

    By author, a token begins a word or ends the text with these probabilities. If `translated`, the junior has another
    tokenizer: its words end where a boundary would stand.
    """
    rng = np.random.default_rng(seed)

    def rollout(name: str) -> Rollout:
        schedule_seed = zlib.crc32(f"{seed}/{name}".encode())
        pen = schedule.pen(schedule_seed)
        ids, authors, breaks = list[int](), list[int](), list[bool]()
        while len(ids) < tokens and (not ids or ids[-1] != END):
            author = pen.author
            token = BEGINS if rng.random() < boundary_rates[author] else INSIDE
            token = END if rng.random() < end_rates[author] else token
            broken = token == BEGINS if translated and author == JUNIOR else None
            ids.append(token)
            authors.append(author)
            breaks.append(bool(broken))
            pen = pen.after(WORDS[token], broken)
        written = scheduled_rollout(schedule, WORDS, schedule_seed, ids)
        written.authorship = np.array(authors, np.int8)
        written.breaks = np.array(breaks) if translated else None
        return written

    return [judged_group([rollout(f"{group}/{index}") for index in range(size)], schedule=schedule) for group in range(groups)]
