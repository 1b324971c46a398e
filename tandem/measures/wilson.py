"""Wilson's interval of a share, which has a width even where all trials agree."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson_interval(share: float, trials: float, confidence: float) -> tuple[float, float]:
    """Return the bounds for a `share` of `trials`, which may be an effective number (E. B. Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    center = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half_width = z / (1 + z**2 / trials) * sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # Rounding must not exclude a share of 0 or 1.
    return max(0.0, min(share, center - half_width)), min(1.0, max(share, center + half_width))
