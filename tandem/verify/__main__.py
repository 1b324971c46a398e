"""Judges responses from a file, to debug a reward or to grade saved rollouts again.

    python -m tandem.verify --jsonl FILE

Each line of FILE (`-` for standard input) is a JSON object with `gold` and `response`. For each line, in order, print a JSON
object with `verdict` and `extracted`, and with a custom verifier also `score`; print nothing else. A gold is read as in a
dataset: of a whole solution, only the final answer counts. Invalid input is reported on standard error before anything is
judged, with exit code 2.
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
from tandem.runtime.exit_status import BAD_INPUT
from tandem.verify.golds import UnreadableGold, gold_answer
from tandem.verify.pool import VerifierPool

Line = tuple[int, str, str]
"""Line number, gold and response."""
BATCH_SIZE = 1000
"""Responses that are judged before their judgements are printed."""
MAX_SHOWN_LINES = 10
"""Line numbers that a message lists."""


def main() -> None:
    """Read the command line, judge the responses and print the judgements."""
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
            while batch := list(islice(items, BATCH_SIZE)):
                for judgement in pool.grade(batch):
                    record = {"verdict": judgement.verdict, "extracted": judgement.extracted}
                    print(json.dumps(record | ({"score": judgement.score} if options.verifier else {})), flush=True)
    except BrokenPipeError:  # the reader of the verdicts has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (RuntimeError, ValueError) as error:
        print(f"tandem.verify: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def _lines(path: str) -> Iterator[Line]:
    """Yield the lines of the file at `path` that are not blank. Raises `ValueError` with the number of a malformed line."""
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, *_pair(number, line)
    except OSError as error:
        raise ValueError(f"--jsonl {path}: {error.strerror}; name a file with one JSON object a line") from error


def _pair(number: int, line: bytes) -> tuple[str, str]:
    """Return the gold and the response of line `number`. Raises `ValueError` when it holds no such pair."""
    try:
        record = read_object(line)
        gold, response = record.get("gold"), record.get("response")
        if gold is None or not isinstance(response, str):
            raise ValueError("needs gold, a text or a number, and response, a text")
        return text_of(gold, "gold", numbers=True), response
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def _with_gold_answers(lines: Sequence[Line], pattern: str) -> list[Line]:
    """Return `lines` with golds reduced to their answers. Golds without a readable answer are reported and kept."""
    lines_with_answers: list[Line] = []
    unreadable_lines: list[int] = []
    for number, gold, response in lines:
        try:
            lines_with_answers.append((number, gold_answer(gold, pattern, "--gold-pattern"), response))
        except UnreadableGold:
            unreadable_lines.append(number)
            lines_with_answers.append((number, gold, response))
    if unreadable_lines:
        count = len(unreadable_lines)
        numbers = ", ".join(map(str, unreadable_lines[:MAX_SHOWN_LINES])) + ", ..." * (count > MAX_SHOWN_LINES)
        print(f"tandem.verify: golds in which no answer can be read: {count} (lines {numbers})", file=sys.stderr)
    return lines_with_answers


if __name__ == "__main__":
    main()
