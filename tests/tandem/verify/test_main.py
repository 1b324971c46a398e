"""Tests of `python -m tandem.verify`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.seconds


def graded_lines(lines: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tandem.verify", "--jsonl", "-", "--workers", "1", *options]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False, env=env)


def test_cli_needs_no_standard_error() -> None:
    command = f"{sys.executable} -m tandem.verify --jsonl - --workers 1 2>&-"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    line = json.dumps({"gold": "\\sqrt{8}", "response": "\\boxed{2\\sqrt{2}}"})
    judged = subprocess.run(["bash", "-c", command], input=line, stdout=subprocess.PIPE, text=True, check=True, env=env)
    assert json.loads(judged.stdout)["verdict"] == "correct"


def test_cli_prints_only_verdicts_in_order() -> None:
    cases = [
        ("\\sqrt{8}", "\\boxed{2\\sqrt{2}}", "correct", "2\\sqrt{2}"),
        (5, "\\boxed{6}", "wrong", "6"),
        ("5", "\\boxed{5}, no: \\boxed{", "unparsable", None),
        ("5", "\\boxed{5", "unparsable", None),
        ("5", "2 + 3 = 5", "unparsable", None),
        ("5", "\ud800 the answer is 5\x00", "unparsable", "5\x00"),
        ("5", "The answer is $\\boxed{9^{9^9}}$.", "timeout", "9^{9^9}"),
        ("5", "<think>6</think>The answer is 5.", "correct", "5"),
    ]
    lines = "\n".join(json.dumps({"gold": gold, "response": response, "id": 1}) for gold, response, *_ in cases)
    result = graded_lines(lines + "\n", "--timeout-s", "2")
    assert result.returncode == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"verdict": verdict, "extracted": extracted} for *_, verdict, extracted in cases
    ]


def test_cli_grades_with_custom_verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "verifiers.py").write_text("def share(gold, response):\n    return int(response) / int(gold)\n")
    monkeypatch.chdir(tmp_path)
    result = graded_lines('{"gold": 4, "response": "3"}', "--verifier", "verifiers:share")
    assert json.loads(result.stdout) == {"verdict": "wrong", "extracted": None, "score": 0.75}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"gold": 5, "resp', "not JSON (Unterminated string"),
        ('{"gold": NaN, "response": "5"}', "not JSON (NaN is no number)"),
        ('{"gold": "\\ud800", "response": "5"}', "gold holds half a surrogate pair"),
        ('{"gold": " ", "response": "5"}', "gold is empty"),
        ('{"gold": [5], "response": "5"}', "gold is not text or a number but a list"),
        ('{"gold": 5, "response": 5}', "needs gold, a text or a number, and response, a text"),
        ("5", "not a JSON object but a number"),
        ('{"gold": "5"}', "needs gold, a text or a number, and response, a text"),
    ],
)
def test_cli_names_malformed_line(line: str, reason: str) -> None:
    result = graded_lines('{"gold": 5, "response": "5"}\n' + line)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"line 2: {reason}" in result.stderr


@pytest.mark.parametrize(
    ("name", "contents", "reason"),
    [
        ("absent", None, "absent: No such file or directory; name a file with one JSON object a line"),
        ("", None, ": Is a directory"),
        ("utf16", '{"gold": 5, "response": "5"}'.encode("utf-16"), "line 1: not UTF-8 (byte 0)"),
        ("latin1", '{"gold": 5, "response": "5"}\n{"gold": "é"}'.encode("latin-1"), "line 2: not UTF-8 (byte 10)"),
    ],
)
def test_cli_names_unreadable_file(name: str, contents: bytes | None, reason: str, tmp_path: Path) -> None:
    if contents is not None:
        (tmp_path / name).write_bytes(contents)
    result = graded_lines("", "--jsonl", str(tmp_path / name))
    assert (result.returncode, result.stdout) == (2, "")
    assert reason in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--workers", "0"), "judge.workers=0: must be positive and finite"),
        (("--timeout-s", "nan"), "judge.timeout_s=nan: must be positive and finite"),
        (("--memory-gib", "inf"), "judge.memory_gib=inf: must be positive and finite"),
        (("--memory-gib", "0.01"), "raise judge.memory_gib=0.01, which may be too small for it"),
        (("--answer-pattern", "("), "judge.answer_pattern='(' is not a regular expression"),
        (("--gold-pattern", "x"), "--gold-pattern='x' has no group"),
    ],
)
def test_cli_names_invalid_option(options: tuple[str, str], reason: str) -> None:
    result = graded_lines('{"gold": 5, "response": "5"}', *options)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("tandem.verify: ") and reason in line


def test_cli_reads_golds_as_in_data_set() -> None:
    golds = ["2+3.\n#### 5", "So \\boxed{5}.", 5.0, "5", "One sees " + "that it is odd " * 5, "6*7=42\n####"]
    result = graded_lines("\n".join(json.dumps({"gold": gold, "response": "\\boxed{5}"}) for gold in golds))
    verdicts = [json.loads(line)["verdict"] for line in result.stdout.splitlines()]
    assert verdicts[:4] == ["correct"] * 4 and "correct" not in verdicts[4:]
    assert result.stderr == "tandem.verify: golds in which no answer can be read: 2 (lines 5, 6)\n"
    result = graded_lines('{"gold": "6 [[5]] 7", "response": "\\\\boxed{5}"}', "--gold-pattern", r"\[\[(.*)\]\]")
    assert json.loads(result.stdout)["verdict"] == "correct"


def test_cli_stops_quietly_when_reader_closes_pipe() -> None:
    lines = json.dumps({"gold": "5", "response": "\\boxed{5}"}) + "\n"
    command = f"{sys.executable} -m tandem.verify --jsonl - --workers 1 | head -1"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, shell=True, input=lines * 5000, capture_output=True, text=True, check=False, env=env)
    assert json.loads(result.stdout)["verdict"] == "correct"
    assert result.stderr == ""
