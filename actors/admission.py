"""How many rollouts an engine writes at a time: as many as its KV cache holds if texts get as long as is expected."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import NamedTuple

AVERAGED_TEXTS = 32
"""The number of texts over which the expected length is averaged, with exponentially decreasing weights."""
OVERCOMMITMENT = 4
"""The most rollouts in flight, as a multiple of those that the KV cache holds at full length."""


class KVUse(NamedTuple):
    """How an engine's KV cache was used since the last call."""

    peak: float
    """the largest share in use at a time"""
    preemptions: int
    """how often a request lost its blocks to an older one, and had to read its text again"""


@dataclass(frozen=True)
class KVCache:
    """The KV cache of one engine."""

    blocks: int
    block_tokens: int
    longest: int
    """the longest text, in tokens"""
    sessions: int = 1
    """of a rollout, each of which holds its text"""

    def blocks_of(self, share: float) -> int:
        """Return the blocks that a text of `share` of the longest fills."""
        return self.sessions * math.ceil(share * self.longest / self.block_tokens)


class Admission:
    """Admits rollouts to one engine, in the order in which they ask: an asynchronous context manager for each.

    The longest text is expected until texts have ended. A text may become longer than expected: where the KV cache is short,
    the youngest rollouts lose their blocks (`actors/session_scheduler.py`). `slots` are the engine's request slots.
    """

    def __init__(self, cache: KVCache, slots: int) -> None:
        self._cache = cache
        self._expected_blocks = float(cache.blocks_of(1.0))
        full_length_texts = cache.blocks // cache.blocks_of(1.0)
        self.most = min(slots, OVERCOMMITMENT * full_length_texts)
        """the most rollouts at a time"""
        self._places = min(slots, full_length_texts)
        self._semaphore = asyncio.Semaphore(self._places)

    def add_length(self, share: float) -> None:
        """Add a finished text, of `share` of the longest, to those that determine the expected length."""
        self._expected_blocks += (self._cache.blocks_of(share) - self._expected_blocks) / AVERAGED_TEXTS

    async def __aenter__(self) -> None:
        await self._semaphore.acquire()

    async def __aexit__(self, *error: object) -> None:
        before = self._places
        target = min(self.most, int(self._cache.blocks / self._expected_blocks))
        self._places = max(target, before - 1)  # places that others hold cannot be taken away
        for _ in range(1 + self._places - before):
            self._semaphore.release()
