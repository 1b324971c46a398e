"""The endpoints of an experiment: claims that its preset declares before it runs, and the verdict on each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from omegaconf import MISSING

from tandem.measures.bootstrap import OverSeeds, holm
from tandem.measures.estimates import Estimate

CLAIMS = ("equal", "greater", "less")
SHOWN, NOT_SHOWN, CONTRADICTED = "shown", "not shown", "contradicted"
"""The verdicts on a claim."""
LEVEL = 0.05
"""The largest adjusted p-value at which a claim is shown, or its opposite."""


@dataclass
class Endpoint:
    """A claim about the difference of two arms after training, the first minus the second."""

    name: str = MISSING
    evaluation: str = MISSING
    """the evaluation of the preset that decides"""
    measures: list[str] = MISSING
    """the claim must hold for each of them"""
    arms: list[str] = MISSING
    """two arms of the preset"""
    claim: str = MISSING
    """`equal` (within +-`margin`), `greater` or `less`"""
    margin: float = 0.0


@dataclass(frozen=True)
class EndpointVerdict:
    """The verdict of an experiment on an endpoint."""

    endpoint: Endpoint
    differences: dict[str, Estimate]
    """by measure"""
    p_value: float
    """of the claim, adjusted by Holm's method for all endpoints of the experiment"""
    p_opposite: float
    """of its opposite, adjusted in the same way"""

    @property
    def conclusion(self) -> str:
        """`shown`, `not shown` or `contradicted`."""
        return SHOWN if self.p_value <= LEVEL else CONTRADICTED if self.p_opposite <= LEVEL else NOT_SHOWN


def verdicts(endpoints: Sequence[Endpoint], differences: Callable[[Endpoint, str], OverSeeds | None]) -> list[EndpointVerdict]:
    """Return the verdicts on those endpoints all of whose measures have a difference. `differences` returns it."""
    pairs = [(endpoint, {measure: differences(endpoint, measure) for measure in endpoint.measures}) for endpoint in endpoints]
    complete = [(endpoint, {name: gap for name, gap in gaps.items() if gap}) for endpoint, gaps in pairs if all(gaps.values())]
    claims = holm([max(_p_claim(endpoint, gap) for gap in gaps.values()) for endpoint, gaps in complete])
    opposites = holm([_p_opposite(endpoint, gaps) for endpoint, gaps in complete])
    return [
        EndpointVerdict(endpoint, {name: gap.estimate for name, gap in gaps.items()}, claim, opposite)
        for (endpoint, gaps), claim, opposite in zip(complete, claims, opposites, strict=True)
    ]


def _p_claim(endpoint: Endpoint, difference: OverSeeds) -> float:
    match endpoint.claim:
        case "equal":
            return difference.p_equal(endpoint.margin)
        case "greater":
            return difference.p_greater()
        case _:
            return difference.p_less()


def _p_opposite(endpoint: Endpoint, differences: Mapping[str, OverSeeds]) -> float:
    """Return the p-value that some measure has the opposite of the claim (Bonferroni's over the measures and sides)."""
    match endpoint.claim:
        case "equal":
            margin = endpoint.margin
            p_values = [p for gap in differences.values() for p in (gap.p_greater(margin), gap.p_less(-margin))]
        case "greater":
            p_values = [gap.p_less() for gap in differences.values()]
        case _:
            p_values = [gap.p_greater() for gap in differences.values()]
    return min(1.0, len(p_values) * min(p_values))
