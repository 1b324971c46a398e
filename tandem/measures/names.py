"""The keys of measures in metrics and results, and their titles in tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

ACCURACY = "solo/accuracy"
PROBLEM_COUNT = "solo/problems"
"""The key of the number of held-out problems, which is no measure."""
LEGIBILITY, FLOOR, ABOVE_FLOOR = "legibility/senior_text", "legibility/junior_text", "legibility/above_floor"
TITLES = {
    ACCURACY: "solo",
    "solo/greedy": "solo, greedy",
    "team/step_alternating/accuracy": "team, by steps",
    "team/step_alternating/retention@1": "retention, by steps",
    "team/word/accuracy": "team, by words",
    "team/word/retention@1": "retention, by words",
    "junior_alone/accuracy": "junior alone",
    LEGIBILITY: "junior's cross-entropy",
    FLOOR: "junior's cross-entropy, own text",
    ABOVE_FLOOR: "cross-entropy above own text",
    "drift/kl_senior_junior": "KL(senior, junior)",
    "drift/kl_junior_senior": "KL(junior, senior)",
    "acceptance/rate": "acceptance",
    "acceptance/length@4": "accepted of 4 drafted",
    "solo/jargon_share": "jargon share",
    "solo/plain_accuracy": "solo, in plain text",
    "solo/jargon_accuracy": "solo, in jargon",
}
"""Of the measures that an experiment shows, in this order. Legibility is the junior's cross-entropy on the senior's texts; the
floor is its cross-entropy on the texts that it writes itself."""


def shown(measures: Sequence[str]) -> dict[str, str]:
    """Return the entries of `TITLES` that are among `measures`."""
    return {measure: name for measure, name in TITLES.items() if measure in measures}
