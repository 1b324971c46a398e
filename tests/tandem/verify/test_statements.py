"""Tests of answers stated in words."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.verify.equivalence import judge
from tandem.verify.extract import final_answer, marks_answer
from tandem.verify.guards import Unparsable

RESPONSES = Path(__file__).parent / "data" / "model_responses.jsonl"
MARKS = [
    "\\boxed{%s}",
    "The answer is %s.",
    "So the answer is therefore **%s**.",
    "**Final Answer:** %s",
    "### Final Answer\n\n%s",
    "#### %s",
    "<answer>%s</answer>",
    "Answer: %s, since it is.",
    "答案是%s。",
]
numbers = st.integers(-999, 999).map(str)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Ans. 42", "42"),
        ("Correct choice: D", "D"),
        ("Answer: 5\nExplanation: Because the answer is easy", "5"),
        ("The answer is 5 rather than 6", "5"),
        ("The answer is 5 instead of 6.", "5"),
        ("The answer is not 6 but 5.", "5"),
        ("The answer is (C), not (B).", "(C)"),
        ("The answer is **(C)** and not **(B)**.", "(C)"),
        ("The answer is (C) rather than (B).", "(C)"),
        ("The answer is the point $(1,2)$.", "$(1,2)$"),
        ("The answer is the ordered pair (1, 2).", "(1, 2)"),
        ("The answer is the set $\\{1,2\\}$.", "$\\{1,2\\}$"),
        ("The answer is the number 5.", "5"),
        ("The answer is the number of ways, 5.", "the number of ways, 5"),
    ],
)
def test_reported_responses_get_expected_verdicts(text: str, answer: str) -> None:
    assert final_answer(text) == answer


def test_responses_of_models_get_expected_verdicts() -> None:
    """Each line of the file has a gold and a response; a response without a readable answer counts as wrong."""
    wrong = []
    for case in map(json.loads, RESPONSES.read_text().splitlines()):
        answer = final_answer(case["response"])
        try:
            verdict = "correct" if answer is not None and judge(case["gold"], answer) else "wrong"
        except Unparsable:
            verdict = "wrong"
        if verdict != case["want"]:
            wrong.append((case, answer))
    assert wrong == []


ABBREVIATIONS = ["Ans", "ANS", "ans", "Sol", "Soln", "**Ans", "So, ans"]
CHOICES = ["Option", "choice", "Choice", "Letter", "Answer key", "Answer choice", "Correct option", "**Final Choice", "Key"]


@given(noun=st.sampled_from(ABBREVIATIONS), end=st.sampled_from([":", ".", ".:", ": **", ".** ", ")", " -"]), answer=numbers)
def test_labels_may_be_abbreviated(noun: str, end: str, answer: str) -> None:
    assert final_answer(f"2 + 3 is what we want.\n{noun}{end} {answer}") == answer


@given(noun=st.sampled_from(CHOICES), end=st.sampled_from([":", ":**", " :"]), letter=st.sampled_from("ABCDE"))
def test_choices_have_labels(noun: str, end: str, letter: str) -> None:
    assert final_answer(f"We compare them.\n{noun}{end} {letter}") == letter
    assert final_answer(f"We compare them.\n{noun}{end} ({letter}) 12") == f"({letter}) 12"


CONTRASTS = [
    "rather than",
    ", rather than",
    "instead of",
    "(instead of",
    "as opposed to",
    ", not",
    "not",
    "and not",
    "but not",
    "-- not",
]
DENIALS = ["is not %s but ", "isn't %s but rather ", "is not %s; it is ", "is not %s, it's ", "is neither 1 nor %s, but "]


@given(mark=st.sampled_from(MARKS), contrast=st.sampled_from(CONTRASTS), answer=numbers, other=numbers)
def test_contrasted_value_is_not_part_of_answer(mark: str, contrast: str, answer: str, other: str) -> None:
    end = ")" if "(" in contrast else ""
    assert final_answer(mark % f"{answer} {contrast} {other}{end}") == answer
    assert final_answer(f"It is $\\boxed{{{answer}}}$ {contrast} $\\boxed{{{other}}}${end}") == answer


@given(denial=st.sampled_from(DENIALS), answer=numbers, other=numbers)
def test_denial_can_name_answer(denial: str, answer: str, other: str) -> None:
    assert final_answer(f"So the answer {denial % other}{answer}.") == answer
    assert final_answer(f"So the answer is not {other}.") is None


REMARKS = [
    "easy",
    "quite obvious",
    "not hard",
    "below",
    "given above",
    "obtained by adding 2 and 3",
    "rounded to 2 decimal places",
    "based on step 3",
    "in simplest form",
    "positive, so we are done",
    "an integer below 1000",
    "correct",
]


@given(mark=st.sampled_from([mark for mark in MARKS if "boxed" not in mark]), remark=st.sampled_from(REMARKS), answer=numbers)
def test_remark_does_not_replace_answer(mark: str, remark: str, answer: str) -> None:
    assert final_answer(f"{mark % answer}\n\nThe answer is {remark}.") == answer
    assert final_answer(f"{mark % answer}\nNote: the answer is {remark}\n") == answer


@pytest.mark.parametrize(
    "text",
    [
        "Do you think the answer is 7?",
        "One might think that the answer is 7.",
        "If we had 3 more, the answer would be 7.",
        "Had there been 3 more, the answer would have been 7.",
    ],
)
def test_question_or_condition_has_no_answer(text: str) -> None:
    assert final_answer(text) is None
    assert final_answer(f"The answer is 5. {text}") == "5"


@given(word=st.sampled_from(["infinite", "undefined", "no", "Tuesday", "five", "twenty", "pi", "x", "ab"]), answer=numbers)
def test_correction_can_be_word(word: str, answer: str) -> None:
    assert final_answer(f"The answer is {answer}. Wait, I made a mistake. The answer is {word}.") == word


@pytest.mark.parametrize("word", ["positive", "even", "blue", "valid"])
def test_common_word_is_answer_without_alternative(word: str) -> None:
    assert final_answer(f"The answer is {word}.") == word


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("$x = \\boxed{2}$ and $y = \\boxed{3}$", "x = 2, y = 3"),
        ("$x = \\boxed{2}$, \\boxed{3}", "2, 3"),
        ("$x = \\boxed{2}$", "2"),
        ("$x = \\boxed{1}$, $y = \\boxed{1}$", "x = 1, y = 1"),
        ("$x = \\boxed{1}$, $y = \\boxed{2}$ and $z = \\boxed{1}$", "x = 1, y = 2, z = 1"),
        ("$x = \\boxed{\\frac12}$ or $x = \\boxed{0.5}$", "0.5"),
        ("$x = \\boxed{1}$, that is, $\\boxed{1}$", "1"),
        ("\\boxed{2 \\text{ rather than } 3}", "2"),
        ("not \\boxed{2} but \\boxed{3}", "3"),
        ("\\boxed{p \\text{ and not } q}", "p \\text{ and not } q"),
        ("\\boxed{\\text{all real numbers but not } 0}", "\\text{all real numbers but not } 0"),
    ],
)
def test_boxes_in_sentence_are_joined(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"answer": "\\\\frac{1}{2}"}', "\\frac{1}{2}"),
        ('{"answer": "\\frac{1}{2}"}', "\\frac{1}{2}"),
        ('{"why": "the answer is 6", "final_answer": -5.5, "sure": true}', "-5.5"),
        ('{"answer": "\\u0035"}', "5"),
        ('{"answer": "\\u00"}', "\\u00"),
        ('{"answer": ', None),
        ("{'answer': 'x = 5'}", "x = 5"),
    ],
)
def test_answer_can_be_json_value(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


names = st.lists(st.sampled_from("abcxyz"), min_size=2, max_size=4, unique=True)


@given(names=names, values=st.lists(numbers, min_size=4, max_size=4), joint=st.sampled_from([", ", " and ", ", and "]))
def test_boxes_with_different_names_are_all_kept(names: list[str], values: list[str], joint: str) -> None:
    pairs = list(zip(names, values, strict=False))
    text = joint.join(f"${name} = \\boxed{{{value}}}$" for name, value in pairs)
    assert final_answer(text) == ", ".join(f"{name} = {value}" for name, value in pairs)


PIECES = [
    *(
        "\\boxed{",
        "\\boxed{1}, ",
        "x=\\boxed{1} not ",
        "{",
        "}",
        "\\",
        "$$",
        "$",
        "\\[",
        "\\]",
        "\\text{",
        "\\begin{a}",
        "(",
        ")",
    ),
    *(" ", "\n", "\t", "*", "_", "~~", "|", "...", ". ", "!", "?", "-", "—", ",", '"', "'", "#", "\x00", "🎯", "🎯\ufe0f", "≈"),
    *(
        "the answer is ",
        "the answer isn't ",
        "Answer: ",
        "Answer (",
        "answer to ",
        "#### ",
        "<answer>",
        "</answer>",
        "</a>",
        "<think>",
    ),
    *(
        '"answer": ',
        '"answer": "',
        '"answer": [',
        "Correct choice: ",
        "Option A is correct ",
        "Ans. ",
        "Sol. 5 ",
        "Result: 5\n",
    ),
    *(
        "答案",
        "选A",
        "答案不是5",
        "因为",
        "if we had ",
        "one might think ",
        "the ",
        "so ",
        "Tom has ",
        "is ",
        "Aa is ",
        "5",
        "5 ",
        "a",
    ),
    *(
        "easy ",
        "the answer is easy. ",
        "obtained by ",
        "a positive ",
        "very ",
        "since ",
        "not ",
        " and not 5",
        "rather than ",
        "but ",
    ),
]
pieces = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)


@settings(max_examples=100, deadline=None)
@given(before=pieces, piece=pieces, after=pieces)
def test_extraction_is_fast_for_any_text(before: str, piece: str, after: str) -> None:
    text = before + piece * (200_000 // len(piece)) + after
    start = time.process_time()
    final_answer(text)
    marks_answer(text)
    assert time.process_time() - start < 2.0
