"""Judges responses from a file, to debug a reward or to grade saved rollouts again.

    python -m tandem.verify --jsonl FILE

Each line of FILE (`-` for standard input) is a JSON object with `gold` and `response`. For each, in their order, a JSON object
with `verdict` and `extracted` is printed, and nothing else; with a verifier of your own, its `score` too. Input that cannot be
used is named on standard error, with exit code 2 and before anything is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice

from tandem.verify.pool import VerifierPool

BAD_INPUT = 2
AT_A_TIME = 1000
"""So many judgements are printed at a time."""


def main() -> None:
    """Reads the command line, judges and prints."""
    parser = argparse.ArgumentParser(prog="python -m tandem.verify", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jsonl", required=True, metavar="FILE", help="lines with gold and response; - for standard input")
    parser.add_argument("--answer-pattern", default="", help="a regular expression whose first group is the final answer")
    parser.add_argument("--verifier", default="", help="package.module:function instead of mathematical equivalence")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="worker processes")
    parser.add_argument("--timeout-s", type=float, default=5.0, help="deadline of one response")
    parser.add_argument("--memory-gib", type=float, default=2.0, help="address space of one worker")
    options = parser.parse_args()
    try:
        with nullcontext(sys.stdin.buffer) if options.jsonl == "-" else open(options.jsonl, "rb") as file:
            items = iter(list(pairs(file)))
        limits = options.workers, options.timeout_s, options.memory_gib
        with VerifierPool(*limits, options.answer_pattern, options.verifier) as pool:
            pool.wait_until_ready()
            while some := list(islice(items, AT_A_TIME)):
                for judgement in pool.grade(some):
                    said = {"verdict": judgement.verdict, "extracted": judgement.extracted}
                    print(json.dumps(said | ({"score": judgement.score} if options.verifier else {})))
    except (OSError, ValueError) as error:
        print(f"tandem.verify: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def pairs(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """The (gold, response) pairs of JSON lines, blank ones left out. Raises `ValueError` that names a malformed line."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number}: not a JSON object but {type(record).__name__}")
        gold, response = record.get("gold"), record.get("response")
        if isinstance(gold, int | float) and not isinstance(gold, bool):
            gold = str(gold)
        if not isinstance(gold, str) or not isinstance(response, str):
            raise ValueError(f"line {number}: needs gold, a text or a number, and response, a text")
        yield gold, response


if __name__ == "__main__":
    main()
