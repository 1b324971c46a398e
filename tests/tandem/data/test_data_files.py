"""Tests of problems from JSON lines and Parquet: their rows, malformed rows, and held-out problems."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.problems import load_problems
from tandem.rollout import Problem
from tests.support.problem_files import SUMS, arrow_cache, jsonl, write_jsonl, write_parquet

GOOD = '{"question": "good %d?", "answer": 1}'
BAD_LINES = {
    2: (b'{"question": "a?"', "not JSON (Expecting ',' delimiter, column 18)"),
    4: (b'{"question": "b?"}', "no field 'answer' (data.answer_field); it has 'question'"),
    5: (b'["c?", 1]', "not a JSON object but list"),
    6: (b'{"question": " ", "answer": 1}', "field 'question' is empty"),
    7: (b'{"question": 7, "answer": 1}', "field 'question' is not text but a number: 7"),
    8: (b'{"question": "d?", "answer": null}', "field 'answer' is empty"),
    9: (b'{"question": "good 1?", "answer": 2}', "the question of line 1 with another answer (2, not 1)"),
    10: (b'{"question": "\xff?", "answer": 1}', "not UTF-8 (byte 14)"),
    11: (b'{"question": "e?", "answer": NaN}', "not JSON (NaN is no number)"),
    12: (b"[" * 100_000, "nested too deeply"),
}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with arrow_cache(tmp_path_factory.mktemp("datasets")):
        yield


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "problems.jsonl", SUMS)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Twenty lines, ten of which are malformed in different ways."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\n".join(BAD_LINES[n][0] if n in BAD_LINES else (GOOD % n).encode() for n in range(1, 21)))
    return path


def everything(data: DataConfig) -> list[Problem]:
    """Return all problems of `data`, from both sides of the split."""
    problems, held = load_problems(data, 1), load_problems(data, 1).held_out(10_000)
    training, size = [], 1
    while True:
        try:
            training = problems.train.batch(0, size)
        except ConfigError:
            return held + training
        size += 1


# The rows


def test_numbers_become_text_and_fields_are_configurable(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"problem": " 1/2 + 2? ", "solution": 2.5}\n\n{"problem": "1 + 2?", "solution": 3}\n')
    data = jsonl(path, question_field="problem", answer_field="solution", held_out_problems=1)
    assert {(p.question, p.answer) for p in everything(data)} == {("1/2 + 2?", "2.5"), ("1 + 2?", "3")}


def test_parquet_and_json_lines_hold_same_problems(lines: Path, tmp_path: Path) -> None:
    data = DataConfig(source="parquet", path=str(write_parquet(tmp_path / "problems.parquet", SUMS)))
    theirs, ours = load_problems(data, 1), load_problems(jsonl(lines), 1)
    assert theirs.held_out(40) == ours.held_out(40)
    assert [theirs.train.batch(step, 7) for step in range(9)] == [ours.train.batch(step, 7) for step in range(9)]


def test_memory_does_not_grow_with_texts(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "long.jsonl", ({"question": f"{i}: " + "why? " * 1000, "answer": i} for i in range(2_400)))
    tracemalloc.start()
    problems = load_problems(jsonl(path), 1)
    assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 4
    tracemalloc.stop()
    assert len(problems.train.batch(0, 4)) == 4


def test_file_changed_during_run_is_refused(lines: Path) -> None:
    problems = load_problems(jsonl(lines), 1)
    write_jsonl(lines, reversed(SUMS))
    with pytest.raises(RuntimeError, match=re.escape(f"data.path={lines} has changed since the run began")):
        problems.train.batch(0, 30)


# Malformed rows


def test_every_malformed_line_is_named(bad: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_problems(jsonl(bad), 1)
    heading, *told = str(caught.value).splitlines()
    assert heading == f"data.path={bad}: malformed lines: 10; correct or remove them, or set data.on_bad_line=skip"
    for line, (number, (_, reason)) in zip(told, BAD_LINES.items(), strict=True):
        assert line.startswith(f"  line {number}: {reason}")


def test_malformed_lines_are_skipped_and_counted_if_configured(bad: Path) -> None:
    data = jsonl(bad, on_bad_line="skip", held_out_fraction=0.3)
    problems = load_problems(data, 1)
    assert problems.skipped == 10
    assert problems.left_out == "0 problems dropped as too long, 10 malformed rows skipped"
    assert {p.question for p in everything(data)} == {f"good {n}?" for n in range(1, 21) if n not in BAD_LINES}


def test_malformed_rows_of_parquet_file_are_named(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        *SUMS[:3],
        {"question": None, "answer": 1},
        {"question": " ", "answer": 2},
        SUMS[0] | {"answer": 7},
    ]
    path = write_parquet(tmp_path / "bad.parquet", rows)
    with pytest.raises(ConfigError) as caught:
        load_problems(DataConfig(source="parquet", path=str(path)), 1)
    assert str(caught.value).splitlines() == [
        f"data.path={path}: malformed rows: 3; correct or remove them, or set data.on_bad_line=skip",
        "  row 4: field 'question' is empty",
        "  row 5: field 'question' is empty",
        "  row 6: the question of row 1 with another answer (7, not 1)",
    ]


def test_error_lists_first_ten_malformed_lines(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("{\n" * 25)
    with pytest.raises(ConfigError, match="malformed lines: 25") as caught:
        load_problems(jsonl(path), 1)
    assert "line 10:" in str(caught.value)
    assert "line 11:" not in str(caught.value)
    assert str(caught.value).endswith("and 15 more")
    with pytest.raises(ConfigError, match=r"it holds no problem \(25 malformed lines were skipped\)"):
        load_problems(jsonl(path, on_bad_line="skip"), 1)


@pytest.mark.parametrize("source", ["jsonl", "parquet"])
def test_missing_file_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="data.path is empty"):
        load_problems(DataConfig(source=source), 1)
    with pytest.raises(ConfigError, match=re.escape("data.path=nowhere: there is no such file")):
        load_problems(DataConfig(source=source, path="nowhere"), 1)


def test_missing_column_is_refused(tmp_path: Path) -> None:
    data = DataConfig(source="parquet", path=str(write_parquet(tmp_path / "x.parquet", SUMS)), question_field="problem")
    with pytest.raises(ConfigError, match=r"data\.question_field=problem: .* choose one of question, answer"):
        load_problems(data, 1)


# What is held out


def test_split_does_not_depend_on_order_of_lines(lines: Path, tmp_path: Path) -> None:
    reverse = write_jsonl(tmp_path / "reverse.jsonl", reversed(SUMS))
    for held_out in ({"held_out_fraction": 0.2}, {"held_out_problems": 9}):
        evaluation = load_problems(jsonl(lines, **held_out), 1).held_out(40)
        assert 0 < len(evaluation) < 40
        assert evaluation == load_problems(jsonl(reverse, **held_out), 2).held_out(40)


@given(st.integers(1, 39))
def test_held_out_count_is_exact(tmp_path_factory: pytest.TempPathFactory, count: int) -> None:
    lines = write_jsonl(tmp_path_factory.mktemp("split") / "problems.jsonl", SUMS)
    problems = load_problems(jsonl(lines, held_out_problems=count), 1)
    held, trained = problems.held_out(40), problems.train.batch(0, 40 - count)
    assert len(held) == count
    assert {p.id for p in held}.isdisjoint(p.id for p in trained)


def test_question_that_occurs_twice_counts_once(tmp_path: Path) -> None:
    spaced = [row | {"question": f"  {row['question']}".replace(" ", "\n ")} for row in SUMS]
    path = write_jsonl(tmp_path / "twice.jsonl", [*SUMS, *spaced, *SUMS])
    problems = everything(jsonl(path, held_out_problems=10))
    assert len(problems) == 40 == len({" ".join(p.question.split()) for p in problems})


def test_problems_of_held_out_file_are_not_trained_on(lines: Path, tmp_path: Path) -> None:
    held = write_jsonl(tmp_path / "held_out.jsonl", SUMS[:30])
    problems = load_problems(jsonl(lines, held_out_path=str(held)), 1)
    evaluation = {problem.id for problem in problems.held_out(100)}
    assert len(evaluation) == 30
    assert evaluation.isdisjoint(problem.id for problem in problems.train.batch(0, 10))
    with pytest.raises(ConfigError, match=r"rollout\.prompts_per_step=11: there are only 10 problems"):
        problems.train.batch(0, 11)


def test_problems_for_evaluation_only_are_all_held_out(lines: Path) -> None:
    problems = load_problems(jsonl(lines, evaluation_only=True), 1)
    assert len(problems.held_out(100)) == 40
    with pytest.raises(ConfigError, match=re.escape(f"data.path={lines}: these problems are for evaluation only")):
        problems.train.batch(0, 1)


def test_file_without_held_out_problems_is_refused(lines: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.held_out_fraction=0\.0"):
        load_problems(jsonl(lines, held_out_fraction=0.0), 1)
