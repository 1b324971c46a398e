"""The chance that at least one of k texts is correct."""

from __future__ import annotations

from math import comb


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The unbiased estimate of pass@k from `samples` texts for one problem, `correct` of them correct (arXiv 2107.03374): the
    share of the subsets of k texts that hold a correct one.

    Raises `ValueError` unless 1 <= k <= samples and 0 <= correct <= samples.
    """
    if not (1 <= k <= samples and 0 <= correct <= samples):
        raise ValueError(f"pass@{k} of {samples} texts, {correct} of them correct, is not defined")
    return 1.0 - comb(samples - correct, k) / comb(samples, k)
