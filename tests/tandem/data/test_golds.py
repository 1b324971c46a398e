"""Tests of golds: answers, and whole solutions that mark an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.checks.data import data_errors
from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.problems import load_problems
from tandem.verify.golds import UnreadableGold, gold_answer
from tests.support.problem_files import jsonl, write_jsonl

GSM8K = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nNatalia sold 48+24 = <<48+24=72>>72 clips in April and May.\n#### 72"
MATH = "Since $x<2$, it follows that $|x-2|=2-x$. If $2-x=p$, then $x=2-p$. Thus $x-p=\\boxed{2-2p}$. We are done."
PROOF = "Assume that there were only finitely many of them and multiply all of them; add one, and a prime divides the result."


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (GSM8K, "72"),
        (MATH, "2-2p"),
        ("<answer> 3 </answer>", "3"),
        ("The answer is B.", "B"),
        ("$n = \\boxed{1,-2}.$", "1,-2"),
        ("We get \\boxed{12\\text{ and }13}.", "12\\text{ and }13"),
    ],
)
def test_gold_is_extracted_from_solution(gold: str, answer: str) -> None:
    assert gold_answer(gold) == answer


@pytest.mark.parametrize(
    "gold",
    [
        "18",
        "\\frac{1}{2}",
        "\\text{June 20}",
        "Evelyn",
        "(-\\infty, 0) \\cup (0, \\infty)",
        "\n\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
        "f(x) = \\begin{cases} x & \\text{if } x > 0 \\\\ -x & \\text{otherwise} \\end{cases}",
        "$g(x)=\\frac{1}{3} ((2x)^a +(2x)^{-a})$ for some $a>0$",
        "5 apples",
        "x = 5",
        "#hashtag",
        "9" * 5000,
    ],
)
def test_gold_that_is_answer_is_unchanged(gold: str) -> None:
    assert gold_answer(gold) == gold


@pytest.mark.parametrize(
    ("gold", "reason"),
    [
        ("6*7=42\n####", "the mark of its final answer is empty"),
        ("Thus \\boxed{}.", "the mark of its final answer is empty"),
        (PROOF, "a text of 21 words without a final answer that is marked"),
    ],
)
def test_gold_without_answer_is_unreadable(gold: str, reason: str) -> None:
    with pytest.raises(UnreadableGold, match=f"^{reason}$"):
        gold_answer(gold)


answers = st.one_of(st.integers().map(str), st.from_regex(r"[1-9]{1,3}[abxy]\^[2-9]", fullmatch=True))
solutions = st.text(alphabet="abc xyz+=1 23.\n$*", max_size=200)


@given(solution=solutions, answer=answers, mark=st.sampled_from(["\n#### %s", "$\\boxed{%s}$.", "\nThe final answer is $%s$."]))
def test_marked_gold_is_extracted_from_any_solution(solution: str, answer: str, mark: str) -> None:
    assert gold_answer(answer) == answer
    assert gold_answer(solution + mark % answer).strip("$") == answer


def solved(tmp_path: Path, golds: list[str]) -> Path:
    return write_jsonl(tmp_path / "solved.jsonl", ({"question": f"{i}?", "answer": gold} for i, gold in enumerate(golds)))


def test_problem_has_answer_of_its_solution(tmp_path: Path) -> None:
    problems = load_problems(jsonl(solved(tmp_path, [f"So.\n#### {i}" for i in range(20)])), 1)
    assert all(problem.answer == problem.question.rstrip("?") for problem in problems.train.batch(0, 8))
    assert all(problem.answer == problem.question.rstrip("?") for problem in problems.held_out(20))


def test_question_with_two_solutions_of_one_answer_is_one_problem(tmp_path: Path) -> None:
    rows = [{"question": "a?", "answer": "1+1.\n#### 2"}, {"question": "a?", "answer": "2*1.\n#### 2"}]
    more = [{"question": f"{i}?", "answer": i} for i in range(9)]
    problems = load_problems(jsonl(write_jsonl(tmp_path / "twice.jsonl", [*rows, *more]), held_out_problems=2), 1)
    assert problems.catalogue is not None and len(problems.catalogue) + len(problems.held_out(99)) == 10


def test_few_unreadable_golds_are_dropped_and_counted(tmp_path: Path) -> None:
    problems = load_problems(jsonl(solved(tmp_path, [*map(str, range(18)), PROOF])), 1)
    assert problems.unreadable == 1
    assert problems.left_out == "0 problems dropped as too long, 1 rows without a gold answer that can be read"


@pytest.mark.parametrize("on_bad_line", ["stop", "skip"])
def test_data_set_with_many_unreadable_golds_is_refused(tmp_path: Path, on_bad_line: str) -> None:
    path = solved(tmp_path, [*map(str, range(8)), PROOF, "7*6\n####"])
    with pytest.raises(ConfigError) as caught:
        load_problems(jsonl(path, on_bad_line=on_bad_line), 1)
    heading, *lines = str(caught.value).splitlines()
    assert heading.startswith(
        f"data.answer_field=answer: no answer can be read in the golds of 2 of 10 lines of data.path={path};"
    )
    assert "data.answer_pattern" in heading and "data.verifier" in heading
    assert lines == [
        "  line 9: a text of 21 words without a final answer that is marked",
        "  line 10: the mark of its final answer is empty",
    ]


def test_pattern_selects_answer_in_gold(tmp_path: Path) -> None:
    path = solved(tmp_path, [f"{PROOF} [[{i}]]" for i in range(20)])
    problems = load_problems(jsonl(path, answer_pattern=r"\[\[(.*?)\]\]"), 1)
    assert all(problem.answer == problem.question.rstrip("?") for problem in problems.train.batch(0, 8))
    with pytest.raises(ConfigError, match=r"no match of data\.answer_pattern"):
        load_problems(jsonl(path, answer_pattern="<<(.*?)>>"), 1)


def test_verifier_receives_golds_unchanged(tmp_path: Path) -> None:
    problems = load_problems(jsonl(solved(tmp_path, [PROOF, GSM8K] * 10), verifier="mine:score"), 1)
    assert {problem.answer for problem in problems.train.batch(0, 10)} == {PROOF, GSM8K}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"answer_pattern": "("}, "data.answer_pattern='(' is not a regular expression"),
        ({"answer_pattern": "x"}, "data.answer_pattern='x' has no group"),
        ({"answer_pattern": "(x)", "verifier": "mine:score"}, "data.verifier=mine:score is given the whole field"),
    ],
)
def test_unusable_pattern_is_refused(fields: dict[str, Any], wrong: str) -> None:
    assert any(wrong in problem for problem in data_errors(DataConfig(source="jsonl", **fields)))
