"""Speed and safety of verification, against math-verify in this process and with hostile answers.

    python -m bench.verify --json

`verify_over_raw` is the ratio of benign answers per second, both on one core (the pool and its worker share it).
docs/verification.md explains the figures and argues the differences.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from math_verify import parse, verify
from rich.console import Console
from rich.table import Table

from bench.benign_answers import Benign, benign_answers
from bench.hostile_answers import hostile_responses
from bench.report import Figures, benchmark_parser, print_figures
from launch.text_tables import terminal_table
from tandem.verify.judgement import Verdict
from tandem.verify.pool import VerifierPool

SEEDS = (1, 2, 3)
"""Each repeat has different answers, which are in no cache."""
DEADLINE_S = 1.0
GRACE_S = 1.0
"""A verdict that takes longer than the deadline plus this is late."""
MEMORY_GIB = 1.0


@contextmanager
def one_core() -> Iterator[None]:
    """Bind this process and its children to one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


def raw_verdicts(answers: Sequence[Benign]) -> tuple[list[bool], float]:
    """Return the verdicts of math-verify with its defaults, in this process, and the seconds."""
    began = time.perf_counter()
    verdicts = [verify(parse(f"${benign.gold}$"), parse(benign.response)) for benign in answers]
    return verdicts, time.perf_counter() - began


def pool_verdicts(pool: VerifierPool, answers: Sequence[Benign]) -> tuple[list[bool], float]:
    """Return the verdicts of `pool`, and the seconds."""
    began = time.perf_counter()
    judgements = pool.grade([(benign.gold, benign.response) for benign in answers])
    seconds = time.perf_counter() - began
    return [judgement.verdict is Verdict.CORRECT for judgement in judgements], seconds


def benign(seeds: Sequence[int]) -> tuple[Figures, list[tuple[Benign, bool]]]:
    """Measure speeds and agreement; also return the answers on which the two differ, with the pool's verdict."""
    speeds, raw_speeds, ratios, differences, count = [], [], [], [], 0
    with one_core(), VerifierPool(1, timeout_s=5.0, memory_gib=MEMORY_GIB) as pool:
        pool.wait_until_ready()
        verify(parse("$\\sqrt{8}$"), parse("$\\boxed{2\\sqrt{2}}$"))  # a warm-up that builds its tables
        for seed in seeds:
            answers = benign_answers(seed)
            ours, seconds = pool_verdicts(pool, answers)
            raw, raw_seconds = raw_verdicts(answers)
            speeds.append(len(answers) / seconds)
            raw_speeds.append(len(answers) / raw_seconds)
            ratios.append(raw_seconds / seconds)
            count += len(answers)
            differences += [(answer, own) for answer, own, other in zip(answers, ours, raw, strict=True) if own != other]
    results: Figures = {
        "benign_answers": count,
        "answers_per_s": round(median(speeds), 1),
        "raw_answers_per_s": round(median(raw_speeds), 1),
        "verify_over_raw": round(median(ratios), 3),
        "benign_agreement": round(1 - len(differences) / count, 4),
    }
    return results, differences


def hostile() -> Figures:
    """Judge hostile answers with benign ones between them, and return the counts."""
    with TemporaryDirectory() as folder, VerifierPool(2, DEADLINE_S, MEMORY_GIB) as pool:
        responses = hostile_responses(Path(folder))
        items = []
        for number, response in enumerate(responses, start=2):
            items += [("5", response), (f"\\sqrt{{{2 * number**2}}}", f"\\boxed{{{number}\\sqrt{{2}}}}")]
        began = time.perf_counter()
        judgements = pool.grade(items)
        seconds = time.perf_counter() - began
        harmful, harmless = judgements[::2], judgements[1::2]
        results: Figures = {
            "hostile_answers": len(harmful),
            "hostile_late": sum(judgement.seconds > DEADLINE_S + GRACE_S for judgement in harmful),
            "hostile_executed": len(os.listdir(folder)),
            "hostile_slowest_s": round(max(judgement.seconds for judgement in harmful), 2),
            "hostile_seconds": round(seconds, 1),
            "benign_between_correct": sum(judgement.verdict is Verdict.CORRECT for judgement in harmless),
        }
        for verdict in Verdict:
            results[f"hostile_{verdict}"] = sum(judgement.verdict is verdict for judgement in harmful)
    return results


def table(differences: Sequence[tuple[Benign, bool]]) -> Table:
    """Return a table of the answers on which pool and math-verify differ."""
    rows = (
        [answer.kind, answer.gold, answer.answer, *(("correct", "wrong") if own else ("wrong", "correct"))]
        for answer, own in differences
    )
    return terminal_table(("kind", "gold", "answer", "here", "math-verify"), rows, title="Differences from math-verify")


def main() -> None:
    """Judge benign and hostile answers and print the figures."""
    parser = benchmark_parser("verify", __doc__)
    options = parser.parse_args()
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    console = Console()
    results, differences = benign(SEEDS)
    console.print(table(differences), markup=False)
    print_figures({**results, **hostile()}, console, as_json=options.json)


if __name__ == "__main__":
    main()
