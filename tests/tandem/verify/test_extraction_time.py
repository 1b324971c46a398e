"""Tests of the CPU time that the extraction of a final answer takes."""

from __future__ import annotations

import time

import pytest

from tandem.verify.extract import final_answer
from tandem.verify.structure import without_remark


@pytest.mark.parametrize(
    "piece",
    [
        "\\boxed{",
        "\\boxed",
        "{",
        "}",
        "\\",
        "\\boxed{}",
        "\\boxed ",
        " ",
        "\x00",
        "the answer is ",
        "the ",
        "*",
        "#### ",
        "<think>",
        "<answer>",
        "the answer ",
        "Answer",
        "$$",
        "since ",
        "**",
        "\\boxed{1}, ",
        "\n",
        "Q:\n",
        "\nProblem: \\boxed{}",
    ],
)
@pytest.mark.parametrize("before", ["\\boxed{", "The answer is ", "the "])
def test_extraction_time_is_linear(before: str, piece: str) -> None:
    start = time.process_time()
    final_answer(before + piece * (1_000_000 // len(piece)) + "x")
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize("piece", ["<so>", "\\step{", "</a>", "**", "so ", "1 ", "\\text {", "<a", "\\so"])
@pytest.mark.parametrize("before", ["", ":", ". "])
def test_prefix_of_mark_has_one_match(before: str, piece: str) -> None:
    start = time.process_time()
    final_answer(before + piece * (99 // len(piece)) + "x Answer: 5")
    assert time.process_time() - start < 0.5


def test_remark_with_many_reasons_is_read_at_once() -> None:
    start = time.process_time()
    without_remark("since or " * 2000)
    without_remark("since " * 2000 + "or " * 2000 + "since")
    assert time.process_time() - start < 0.5


def test_number_of_joined_boxes_is_limited() -> None:
    boxes = ", ".join(f"\\boxed{{x^{number}+\\frac{{1}}{{{number}}}}}" for number in range(2, 52))
    start = time.process_time()
    assert (final_answer(boxes) or "").count(",") == 49
    assert time.process_time() - start < 0.5
