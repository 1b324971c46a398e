"""The keys of measures in metrics and results, and their titles in tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.config.evaluation import EvalConfig
from tandem.config.schema import Config
from tandem.data.arith import DIALECTS
from tandem.measures.acceptance import LONGEST_DRAFT

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
"""Titles of the measures that an experiment shows, in this order.

Legibility is the junior's cross-entropy on the senior's texts; the floor is its cross-entropy on the texts that it writes
itself.
"""


def correctness(evaluation: EvalConfig) -> list[str]:
    """Return the names of the measures of correctness: accuracy and pass@k."""
    return ["accuracy", *(f"pass@{k}" for k in evaluation.pass_at if k > 1)]


def measures_of(config: Config) -> list[str]:
    """Return the keys of the measures that an evaluation in an experiment takes."""
    evaluation = config.eval
    passes = correctness(evaluation)
    dialects = ["jargon_share", *(f"{name}_accuracy" for name in DIALECTS)] if config.data.source == "arith" else []
    dialects += ["greedy_jargon_share"] if dialects and evaluation.greedy else []
    retained = [f"retention@{k}" for k in evaluation.pass_at] if "solo" in evaluation.measures else []
    greedy = ["greedy"] if evaluation.greedy else []
    taken = {
        "solo": [f"solo/{kind}" for kind in [*passes, *greedy, "tokens", *dialects]],
        "handoff": [
            f"team/{schedule.label}/{kind}"
            for schedule in evaluation.handoff
            for kind in [*passes, *retained, "senior_share", "handoffs"]
        ],
        "junior_alone": [f"junior_alone/{kind}" for kind in [*passes, *greedy]],
        "drift": ["drift/kl_senior_junior", "drift/kl_junior_senior"],
        "acceptance": ["acceptance/rate", *(f"acceptance/length@{k}" for k in range(1, LONGEST_DRAFT + 1))],
        "legibility": [LEGIBILITY, FLOOR, f"{LEGIBILITY}_pooled", f"{FLOOR}_pooled", ABOVE_FLOOR],
        "takeover": [f"takeover/{100 * fraction:g}%" for fraction in (*evaluation.prefixes, 1)],
    }
    return [key for measure in evaluation.measures for key in taken[measure]]


def shown(measures: Sequence[str]) -> dict[str, str]:
    """Return the entries of `TITLES` that are among `measures`."""
    return {measure: name for measure, name in TITLES.items() if measure in measures}
