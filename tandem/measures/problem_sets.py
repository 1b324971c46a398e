"""The named sets of an evaluation's problems: averages over sets, and the scores of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tandem.measures.score import Score


@dataclass(frozen=True)
class ProblemSets:
    """The set of each of P problems."""

    names: tuple[str, ...]
    """empty: there is only one set, without a name"""
    index: np.ndarray
    """int64 [P], the place of each problem's set in `names`"""

    @classmethod
    def labeled(cls, labels: Sequence[str]) -> ProblemSets:
        """Return the sets that `labels` name, in the order of their first problems; an empty label names none."""
        names = {name: place for place, name in enumerate(dict.fromkeys(labels))}
        index = np.array([names[label] for label in labels], np.int64)
        return cls(() if set(names) <= {""} else tuple(names), index)

    @property
    def labels(self) -> list[str] | None:
        """Return the name of each problem's set, if there are sets."""
        return [self.names[place] for place in self.index] if self.names else None

    def averaged(self, scores: Mapping[str, Score]) -> dict[str, Score]:
        """Return each score as the macro-average over the sets; without sets, unchanged."""
        return {key: score.macro(self.index) if self.names else score for key, score in scores.items()}

    def by_set(self, scores: Mapping[str, Score]) -> dict[str, dict[str, Score]]:
        """Return the scores of each set, by its name. Scores without weight in a set are left out."""
        parts = {name: self.index == place for place, name in enumerate(self.names)}
        return {
            name: {key: score.of(chosen) for key, score in scores.items() if score.weights[chosen].any()}
            for name, chosen in parts.items()
        }
