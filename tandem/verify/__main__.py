"""Judges responses from a file, to debug a reward or to grade saved rollouts again.

    python -m tandem.verify --jsonl FILE

Each line of FILE (`-` for standard input) is a JSON object with `gold` and `response`. For each, in their order, a JSON object
with `verdict` and `extracted` is printed, and nothing else; with a verifier of your own, its `score` too. A gold is read as
those of a data set are: of a whole solution it is the final answer. Input that cannot be used is named on standard error, with
exit code 2 and before anything is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice

from tandem.data.fields import text_of
from tandem.data.jsonl import read_object
from tandem.verify.golds import UnreadableGold, gold_answer
from tandem.verify.pool import VerifierPool

Line = tuple[int, str, str]
"""The number of a line, its gold and its response."""
BAD_INPUT = 2
AT_A_TIME = 1000
"""So many judgements are printed at a time."""
SHOWN_LINES = 10
"""How many lines a note names."""


def main() -> None:
    """Reads the command line, judges and prints."""
    parser = argparse.ArgumentParser(prog="python -m tandem.verify", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jsonl", required=True, metavar="FILE", help="lines with gold and response; - for standard input")
    parser.add_argument("--answer-pattern", default="", help="a regular expression whose first group is the final answer")
    parser.add_argument("--gold-pattern", default="", help="the same for golds, as data.answer_pattern of a run")
    parser.add_argument("--verifier", default="", help="package.module:function instead of mathematical equivalence")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="worker processes")
    parser.add_argument("--timeout-s", type=float, default=5.0, help="deadline of one response")
    parser.add_argument("--memory-gib", type=float, default=2.0, help="address space of one worker")
    options = parser.parse_args()
    try:
        lines = list(_lines(options.jsonl))
        if not options.verifier:
            lines = _with_gold_answers(lines, options.gold_pattern)
        items = iter([(gold, response) for _, gold, response in lines])
        limits = options.workers, options.timeout_s, options.memory_gib
        with VerifierPool(*limits, options.answer_pattern, options.verifier) as pool:
            pool.wait_until_ready()
            while some := list(islice(items, AT_A_TIME)):
                for judgement in pool.grade(some):
                    said = {"verdict": judgement.verdict, "extracted": judgement.extracted}
                    print(json.dumps(said | ({"score": judgement.score} if options.verifier else {})), flush=True)
    except BrokenPipeError:  # whoever reads the verdicts has seen enough of them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (RuntimeError, ValueError) as error:
        print(f"tandem.verify: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def _lines(path: str) -> Iterator[Line]:
    """Yield the lines of the file at `path`, blank ones left out. Raises `ValueError` that names a malformed one."""
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, *_pair(number, line)
    except OSError as error:
        raise ValueError(f"--jsonl {path}: {error.strerror}; name a file with one JSON object a line") from error


def _pair(number: int, line: bytes) -> tuple[str, str]:
    """Return the gold and the response of line `number`."""
    try:
        record = read_object(line)
        gold, response = record.get("gold"), record.get("response")
        if gold is None or not isinstance(response, str):
            raise ValueError("needs gold, a text or a number, and response, a text")
        return text_of(gold, "gold", numbers=True), response
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def _with_gold_answers(lines: Sequence[Line], pattern: str) -> list[Line]:
    """Return `lines` with the answers in their golds; golds in which none can be read are noted and stay as they are."""
    read: list[Line] = []
    unreadable: list[int] = []
    for number, gold, response in lines:
        try:
            read.append((number, gold_answer(gold, pattern, "--gold-pattern"), response))
        except UnreadableGold:
            unreadable.append(number)
            read.append((number, gold, response))
    if unreadable:
        named = ", ".join(map(str, unreadable[:SHOWN_LINES])) + ", ..." * (len(unreadable) > SHOWN_LINES)
        print(f"tandem.verify: golds in which no answer can be read: {len(unreadable)} (lines {named})", file=sys.stderr)
    return read


if __name__ == "__main__":
    main()
