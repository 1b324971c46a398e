"""Tests of the number of rollouts that an engine admits at a time."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from actors.admission import OVERCOMMITMENT, Admission, KVCache

shares = st.floats(0.001, 1.0)
caches = st.builds(
    KVCache,
    blocks=st.integers(64, 512),
    block_tokens=st.integers(1, 64),
    longest=st.integers(1, 1000),
    sessions=st.integers(1, 2),
)


def in_flight_after(admission: Admission, texts: list[float]) -> int:
    """Return how many rollouts are in flight when all places are taken, after `texts` have been written one by one."""

    async def count() -> int:
        for share in texts:
            async with admission:
                admission.add_length(share)
        taken = 0
        while not admission._semaphore.locked():
            await admission.__aenter__()
            taken += 1
        return taken

    return asyncio.run(count())


@given(cache=caches.filter(lambda cache: cache.blocks >= cache.blocks_of(1.0)), slots=st.integers(1, 64), share=shares)
def test_texts_of_one_length_fill_the_cache(cache: KVCache, slots: int, share: float) -> None:
    full_length_texts = cache.blocks // cache.blocks_of(1.0)
    limit = min(slots, OVERCOMMITMENT * full_length_texts)
    assert in_flight_after(Admission(cache, slots), []) == min(slots, full_length_texts)
    fit = min(limit, cache.blocks // cache.blocks_of(share))
    assert in_flight_after(Admission(cache, slots), [share] * 600) in (fit, max(fit - 1, 1))


@given(texts=st.lists(shares, max_size=50), slots=st.integers(1, 64))
def test_longest_texts_bring_back_room_for_each(texts: list[float], slots: int) -> None:
    cache = KVCache(blocks=40, block_tokens=16, longest=100)
    assert in_flight_after(Admission(cache, slots), texts + [1.0] * 600) in (min(slots, 5), min(slots, 6))


def test_places_that_others_hold_are_given_back_one_by_one() -> None:
    admission = Admission(KVCache(blocks=8, block_tokens=1, longest=2), slots=8)

    async def most_at_once() -> list[int]:
        inside, most = 0, [0]

        async def write(share: float) -> None:
            nonlocal inside
            async with admission:
                inside += 1
                most[-1] = max(most[-1], inside)
                await asyncio.sleep(0)
                admission.add_length(share)
                inside -= 1

        for share in (0.5, 1.0):
            await asyncio.gather(*(write(share) for _ in range(400)))
            most.append(0)
        await asyncio.gather(*(write(1.0) for _ in range(40)))
        return most

    short, long, at_last = asyncio.run(most_at_once())
    assert short >= 7 and long >= 7 and at_last in (4, 5)
