"""pass@k: the probability that at least one of k texts is correct."""

from __future__ import annotations

from math import comb


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Return the unbiased estimate of pass@k for one problem with `correct` correct texts of `samples` (arXiv 2107.03374).

    It is the fraction of subsets of k texts with at least one correct text.

    Raises `ValueError` unless 1 <= k <= samples and 0 <= correct <= samples.
    """
    if not (1 <= k <= samples and 0 <= correct <= samples):
        raise ValueError(f"pass@{k} of {samples} texts, {correct} of them correct, is not defined")
    return 1.0 - comb(samples - correct, k) / comb(samples, k)
