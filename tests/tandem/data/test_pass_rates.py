"""Tests of the difficulty filter: the file of pass rates, and the training problems that it drops."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.config.checks.data import data_errors
from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.pass_rates import PassRateFile, read_pass_rates
from tandem.data.problems import load_problems
from tests.support.problem_files import SUMS, jsonl, write_jsonl


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "problems.jsonl", SUMS)


def test_pass_rate_limits_filter_training_problems_only(lines: Path, tmp_path: Path) -> None:
    whole = load_problems(jsonl(lines), 1)
    assert whole.catalogue is not None
    never, always, seldom, *unknown = whole.catalogue.ids
    held = [problem.id for problem in whole.held_out(40)]
    PassRateFile(tmp_path / "rates.jsonl").add({never: 0, always: 8, seldom: 1} | dict.fromkeys(held, 0), 8)

    problems = load_problems(jsonl(lines, pass_rates=str(tmp_path / "rates.jsonl")), 1)
    assert problems.catalogue is not None
    assert problems.catalogue.ids == [seldom, *unknown]
    assert {problem.id for problem in problems.train.batch(0, len(unknown) + 1)} == {seldom, *unknown}
    assert problems.held_out(40) == whole.held_out(40)
    assert problems.left_out == "0 problems dropped as too long, 2 for their pass rate"


def test_interrupted_file_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rates.jsonl"
    PassRateFile(path).add({"a": 1, "b": 4}, 4)
    path.write_text(path.read_text() + '{"id": "c", "sol')
    again = PassRateFile(path)
    assert again.known == {"a", "b"}
    again.add({"c": 2}, 4)
    assert read_pass_rates(path) == {"a": 0.25, "b": 1.0, "c": 0.5}


def test_unusable_file_is_refused(lines: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such file; write it with launch/difficulty\.py"):
        load_problems(jsonl(lines, pass_rates=str(tmp_path / "nowhere")), 1)
    with pytest.raises(ConfigError, match="line 1 is not a pass rate"):
        load_problems(jsonl(lines, pass_rates=str(lines)), 1)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (b"\xff\n", 1),
        (b'{"id": "a", "solved": 3, "rollouts": 2}\n', 1),
        (b'{"id": "a", "solved": -1, "rollouts": 2}\n', 1),
        (b'{"id": "a", "solved": NaN, "rollouts": 2}\n', 1),
        (b'{"id": ["a"], "solved": 1, "rollouts": 2}\n', 1),
        (b'{"id": "a", "solved": 0, "rollouts": 0}\n', 1),
        (b"[" * 100_000 + b"\n", 1),
        (b'{"id": "a", "solved": 1, "rollouts": 2}\nA note of mine', 2),
    ],
)
def test_error_names_malformed_line_and_keeps_file(tmp_path: Path, line: bytes, number: int) -> None:
    (path := tmp_path / "rates.jsonl").write_bytes(line)
    with pytest.raises(ConfigError, match=f"data.pass_rates={path}: line {number} is not a pass rate"):
        PassRateFile(path)
    assert path.read_bytes() == line


def test_unwritable_file_is_refused_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"data\.pass_rates=.*: it cannot be written \(.*; name another file"):
        PassRateFile(tmp_path / "file" / "rates.jsonl")


def test_limits_without_any_problem_are_refused(lines: Path, tmp_path: Path) -> None:
    everything = load_problems(jsonl(lines), 1).catalogue
    assert everything is not None
    PassRateFile(tmp_path / "rates.jsonl").add(dict.fromkeys(everything.ids, 0), 8)
    with pytest.raises(ConfigError, match=r"the rates of all \d+ problems are beyond"):
        load_problems(jsonl(lines, pass_rates=str(tmp_path / "rates.jsonl")), 1)


def test_inconsistent_settings_are_refused() -> None:
    [endless] = data_errors(DataConfig(source="arith", pass_rates="x"))
    assert endless.startswith("data.pass_rates=x: data.source=arith has no end")
    [bounds] = data_errors(DataConfig(source="jsonl", min_pass_rate=0.5, max_pass_rate=0.4))
    assert bounds.startswith("data.min_pass_rate=0.5: ")
