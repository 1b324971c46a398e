"""The keys of measures in metrics and results, and their titles in tables and figures."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tandem.config.evaluation import EvalConfig
from tandem.config.schema import Config
from tandem.data.arith import DIALECTS
from tandem.measures.acceptance import LONGEST_DRAFT

ACCURACY = "solo/accuracy"
PROBLEM_COUNT = "solo/problems"
"""The key of the number of held-out problems, which is no measure."""
LEGIBILITY, FLOOR, ABOVE_FLOOR = "legibility/senior_text", "legibility/junior_text", "legibility/above_floor"
TITLES = {
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
"""Titles of single measures, in the order in which an experiment shows them, after those that `title` composes.

Legibility is the junior's cross-entropy on the senior's texts; the floor is its cross-entropy on the texts that it writes
itself.
"""
_ACCURACY = re.compile(r"(?P<author>solo|junior_alone|team/(?P<schedule>[^/]+))/(?P<kind>accuracy|greedy|pass@\d+)")
_RETENTION = re.compile(r"team/(?P<schedule>[^/]+)/(?P<kind>retention@\d+)")
_TAKEOVER = re.compile(r"takeover/(?P<percent>.+)%")
_AUTHORS = ("solo", "team", "junior_alone", "takeover")


def title(measure: str) -> str:
    """Return the title of a measure in tables and figures; empty for one that experiments do not show."""
    if match := _TAKEOVER.fullmatch(measure):
        return f"junior after {match['percent']} % of the solution"
    if match := _RETENTION.fullmatch(measure):
        return f"{match['kind'].removesuffix('@1')}, {_schedule_title(match['schedule'])}"
    if not (match := _ACCURACY.fullmatch(measure)):
        return TITLES.get(measure, "")
    author = f"team, {_schedule_title(match['schedule'])}" if match["schedule"] else match["author"].replace("_", " ")
    return author if match["kind"] == "accuracy" else f"{author}, {match['kind']}"


def _schedule_title(label: str) -> str:
    """Return a schedule's label in words: `by steps` for `step_alternating`, `by words` for `word`."""
    name, _, settings = label.partition("_")
    settings = settings.removeprefix("alternating").strip("_")
    return f"by {'alternating word' if name == 'alternate' else name}s{f' ({settings})' if settings else ''}"


def _place(measure: str) -> tuple[int, int]:
    """Return what a measure is sorted by: who wrote the texts, then its place in `TITLES`."""
    if measure in TITLES:
        return len(_AUTHORS), list(TITLES).index(measure)
    return _AUTHORS.index(measure.partition("/")[0]), 0


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
    keys = {
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
    return [key for measure in evaluation.measures for key in keys[measure]]


def shown(measures: Iterable[str]) -> dict[str, str]:
    """Return the titles of those `measures` that an experiment shows, in its order."""
    return {measure: title(measure) for measure in sorted(filter(title, measures), key=_place)}
