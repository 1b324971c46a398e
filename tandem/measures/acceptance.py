"""Rounds of speculative decoding: how many drafted tokens the target model accepts in a text that it wrote."""

from __future__ import annotations

import numpy as np

LONGEST_DRAFT = 8


def accepted_and_rounds(chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected accepted tokens and rounds of speculative decoding for one text, float64 [`LONGEST_DRAFT`].

    Element k - 1 is for drafts of k tokens. `chances` [T] has the probability that a token of the text, if it was drafted, was
    an accepted draft; given the text, these events are independent. A round accepts drafted tokens up to the first rejection
    and adds one token of the target's, and the next round begins after it. The first round begins at the first token. A draft
    that extends beyond the text counts with its tokens within it.
    """
    tokens = len(chances)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(chances, (0, LONGEST_DRAFT - 1)), LONGEST_DRAFT)
    reached = np.pad(np.cumprod(windows, axis=1), ((0, 0), (1, 0)), constant_values=1.0)  # [T, 9]: the first i are accepted
    exactly = np.zeros((tokens, LONGEST_DRAFT, LONGEST_DRAFT + 1))  # [T, k - 1, i]: i tokens of a draft of k are accepted
    for k in range(1, LONGEST_DRAFT + 1):
        exactly[:, k - 1, :k] = reached[:, :k] - reached[:, 1 : k + 1]
        exactly[:, k - 1, k] = reached[:, k]
    starts = np.zeros((LONGEST_DRAFT, tokens + LONGEST_DRAFT + 1))  # [k - 1, T]: a round begins at the token
    starts[:, 0] = 1.0
    for token in range(tokens):
        starts[:, token + 1 : token + LONGEST_DRAFT + 2] += starts[:, token, None] * exactly[token]
    within = starts[:, :tokens]
    return (within * np.cumsum(reached[:, 1:], axis=1).T).sum(1), within.sum(1)
