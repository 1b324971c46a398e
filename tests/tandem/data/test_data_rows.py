"""Tests of rows of datasets: spellings of numbers, text, fields in objects."""

from __future__ import annotations

import datetime
import json
import math
import re
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import from_dtype

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.fields import Numeral, lookup
from tandem.data.problems import load_problems
from tandem.rollout import Problem
from tests.support.problem_files import arrow_cache, jsonl, refusal


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with arrow_cache(tmp_path_factory.mktemp("datasets")):
        yield


def answers_of(data: DataConfig) -> list[str]:
    """Return the answers of all problems, in the order of their questions `q0`, `q1` and so on."""
    problems = load_problems(data, 1).held_out(1000)
    return [problem.answer for problem in sorted(problems, key=lambda problem: int(problem.question.removeprefix("q")))]


def column(path: Path, answers: pa.Array, **fields: object) -> DataConfig:
    """Return the settings of a Parquet file for evaluation with these answers."""
    questions = pa.array([f"q{i}" for i in range(len(answers))])
    pyarrow.parquet.write_table(pa.table({"question": questions, "answer": answers}), path)
    return DataConfig(source="parquet", path=str(path), evaluation_only=True, **fields)  # type: ignore[arg-type]


def lines(path: Path, *answers: str, **fields: object) -> DataConfig:
    """Return the settings of a file of JSON lines for evaluation with these spellings of the answers."""
    path.write_text("".join(f'{{"question": "q{i}", "answer": {answer}}}\n' for i, answer in enumerate(answers)))
    return jsonl(path, evaluation_only=True, **fields)


# Numbers


@pytest.mark.parametrize(
    ("column_type", "stored", "spelled"),
    [
        (pa.float16(), np.array([14.1], np.float16), "14.1"),
        (pa.float32(), [14.1], "14.1"),
        (pa.float32(), [1 / 3], "0.33333334"),
        (pa.float64(), [14.1], "14.1"),
        (pa.float64(), [6.022e23], "6.022e+23"),
        (pa.decimal128(10, 2), [Decimal("14.10")], "14.10"),
        (pa.decimal256(40, 0), [Decimal(10**30 + 1)], str(10**30 + 1)),
        (pa.int8(), [-7], "-7"),
        (pa.uint64(), [2**64 - 1], str(2**64 - 1)),
        (pa.bool_(), [True], "True"),
        (pa.large_string(), [" 14.10 "], "14.10"),
        (pa.string_view(), ["1/2"], "1/2"),
    ],
)
def test_numbers_are_spelled_by_column_type(tmp_path: Path, column_type: pa.DataType, stored: Any, spelled: str) -> None:
    assert answers_of(column(tmp_path / "x.parquet", pa.array(stored, column_type))) == [spelled]


floats32 = from_dtype(np.dtype(np.float32), allow_nan=False, allow_infinity=False)


@settings(max_examples=20)
@given(st.lists(floats32, min_size=1, max_size=200))
def test_float32_answer_has_shortest_exact_spelling(stored: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = column(Path(folder) / "x.parquet", pa.array([*stored, 0.0], pa.float32()), on_bad_line="skip")
        answers = answers_of(data)
    assert set(map(np.float32, answers)) <= {np.float32(0), *map(np.float32, stored)}
    assert all(len(answer) <= len(repr(float(np.float32(answer)))) for answer in answers)


def test_class_label_becomes_its_name(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"question": datasets.Value("string"), "answer": datasets.ClassLabel(names=["A", "B", "C"])})
    rows = {"question": ["q0", "q1"], "answer": [2, 0]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "x.parquet"))
    assert answers_of(DataConfig(source="parquet", path=str(tmp_path / "x.parquet"), evaluation_only=True)) == ["C", "A"]


@pytest.mark.parametrize(
    ("column_type", "stored", "reason"),
    [
        (pa.float32(), [math.nan], "field 'answer' is nan, which is no answer"),
        (pa.float64(), [math.inf], "field 'answer' is inf, which is no answer"),
        (pa.float64(), [-math.inf], "field 'answer' is -inf, which is no answer"),
        (pa.float64(), [123456789012345678901.0], "is 1.2345678901234568e+20, of which float64 may have lost digits"),
        (pa.float32(), [16777217.0], "is 16777216.0, of which float32 may have lost digits; store it as text"),
        (pa.binary(), [b"7"], "field 'answer' is not text or a number but bytes: b'7'"),
        (pa.date32(), [datetime.date(2020, 6, 20)], "field 'answer' is not text or a number but date"),
        (pa.null(), [None], "field 'answer' is empty"),
    ],
)
def test_error_names_column_value_without_answer(
    tmp_path: Path, column_type: pa.DataType, stored: list[Any], reason: str
) -> None:
    message = refusal(column(tmp_path / "x.parquet", pa.array(stored, column_type)))
    assert message.startswith(f"data.path={tmp_path / 'x.parquet'}: malformed rows: 1; correct or remove them, or set ")
    assert "\n  row 1: " in message and reason in message


@pytest.mark.parametrize(
    "spelled", ["14.10", "1e400", "-0.0", "1E5", "9" * 5000, "0.1000000000000000055511151231257827", "-12"]
)
def test_json_number_keeps_its_spelling(tmp_path: Path, spelled: str) -> None:
    assert answers_of(lines(tmp_path / "x.jsonl", spelled)) == [spelled]


@pytest.mark.parametrize("spelled", ["NaN", "Infinity", "-Infinity"])
def test_json_constant_is_not_answer(tmp_path: Path, spelled: str) -> None:
    assert f"line 1: not JSON ({spelled} is no number)" in refusal(lines(tmp_path / "x.jsonl", spelled))


def test_boolean_becomes_word(tmp_path: Path) -> None:
    assert answers_of(lines(tmp_path / "x.jsonl", "true", "false")) == ["True", "False"]


# Text


@pytest.mark.parametrize("on_bad_line", ["stop", "skip"])
def test_error_names_unpaired_surrogate(tmp_path: Path, on_bad_line: str) -> None:
    bad = lines(tmp_path / "x.jsonl", r'"\ud800"', "1", on_bad_line=on_bad_line)
    if on_bad_line == "skip":
        assert load_problems(bad, 1).skipped == 1
    else:
        assert "line 1: field 'answer' holds half a surrogate pair ('\\ud800'), which is no character" in refusal(bad)


def test_whole_surrogate_pair_is_character(tmp_path: Path) -> None:
    assert answers_of(lines(tmp_path / "x.jsonl", r'"\ud83d\ude42"')) == ["🙂"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"question": "\\udfff?", "answer": 1}', "field 'question' holds half a surrogate pair ('\\udfff')"),
        ('{"question": "q", "answer": {"value": 3}}', "but an object (has 'value'); name one of its fields, as NAME.FIELD"),
        ('{"question": "q", "answer": [3]}', "but a list of 1; name one of its entries, as NAME.0"),
        ('{"question": "q", "answer": "\\u00a0 "}', "field 'answer' is empty"),
        ('{"question": {"text": "q"}, "answer": 1}', "field 'question' is not text but an object (has 'text')"),
        ('{"question": "q", "answer": 1, "answer": 2}', "field 'answer' occurs twice in one object"),
        ("{}", "no field 'question' (data.question_field); it has none"),
        ("7", "not a JSON object but a number"),
    ],
)
def test_error_names_row_without_problem(tmp_path: Path, row: str, reason: str) -> None:
    (tmp_path / "x.jsonl").write_text(f'{{"question": "one?", "answer": 1}}\n{row}\n')
    message = refusal(jsonl(tmp_path / "x.jsonl"))
    assert "\n  line 2: " in message and reason in message


keys = st.sampled_from(["role", "content", "a", ""])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text(st.characters(categories=["Cs", "L"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
json_rows = json_values | st.fixed_dictionaries(
    {"question": st.text(min_size=1) | json_values}, optional=dict.fromkeys(["answer", "x.y", "x"], json_values)
)


def problem_or_refusal(path: Path, **fields: object) -> Problem | str:
    """Return the only problem of a file, or the reason why there is none."""
    try:
        [problem] = load_problems(jsonl(path, evaluation_only=True, **fields), 1).held_out(2)
    except ConfigError as error:
        return str(error)
    return problem


@given(json_rows, st.sampled_from(["answer", "x", "x.y", "x.a", "x.0", "x.a.content"]))
def test_any_json_row_keeps_its_answer_or_is_named_in_error(row: object, field: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        path.write_text(json.dumps(row) + "\n{}\n")
        result = problem_or_refusal(path, answer_field=field, on_bad_line="skip")
    if isinstance(result, str):
        assert "line 1: " in result and "line 2: no field" in result
        return
    assert isinstance(row, dict)
    stored = lookup(row, field, "data.answer_field")
    assert isinstance(stored, str | bool | int | float) and (isinstance(stored, str) or math.isfinite(stored))
    spelled = stored.strip() if isinstance(stored, str) else str(stored) if isinstance(stored, bool) else json.dumps(stored)
    assert result.answer == spelled


# Fields in objects


def test_field_name_with_dots_precedes_path() -> None:
    record = {"a.b": 1, "a": {"b": 2, "c": [3, 4]}}
    assert [lookup(record, name, "key") for name in ("a.b", "a.c.1")] == [1, 4]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("reward_model.truth", "no field 'reward_model.truth' (key); field 'reward_model' has 'ground_truth', 'choices'"),
        ("reward_model.choices.2", "no field 'reward_model.choices.2' (key); field 'reward_model.choices' has 2 entries"),
        ("reward_model.ground_truth.x", "field 'reward_model.ground_truth' has no fields"),
        ("nothing.x", "no field 'nothing.x' (key); field 'nothing' is null"),
        ("nothing", "field 'nothing' is empty"),
        ("none.x", "no field 'none.x' (key); it has 'reward_model', 'nothing'"),
    ],
)
def test_error_names_missing_field(field: str, reason: str) -> None:
    record = {"reward_model": {"ground_truth": Numeral("3"), "choices": ["a", "b"]}, "nothing": None}
    with pytest.raises(ValueError, match=re.escape(reason)):
        lookup(record, field, "key")
