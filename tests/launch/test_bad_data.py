"""Tests of data that training cannot use: exit code 2 and a message, before any engine starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.seconds

Refused = Callable[..., str]


def test_missing_data_file_is_refused(refused: Refused, model: Path) -> None:
    message = refused("model=hf", f"model.path={model}", "data=jsonl", "data.path=/missing.jsonl")
    assert message == "data.path=/missing.jsonl: there is no such file; name a file with one JSON object a line"


def test_malformed_data_line_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(100)]
    lines[41] = '{"question": "What is 41 + 1?", "answer": 42'
    (file := tmp_path / "problems.jsonl").write_text("\n".join(lines))
    message = refused("model=hf", f"model.path={model}", "data=jsonl", f"data.path={file}")
    assert message.startswith(f"data.path={file}: malformed lines: 1; correct or remove them, ")
    assert message.splitlines()[1].startswith("  line 42: not JSON")


@pytest.mark.parametrize(
    ("content", "overrides", "reason"),
    [
        (b'{"question": "\\ud800", "answer": 1}', ["data.on_bad_line=skip"], "line 1: field 'question' holds half a surrogate"),
        (b"\x1f\x8b\x08", [], "it is compressed with gzip; unpack it with gunzip"),
        (b'[{"question": "a", "answer": 1}]', [], "it is one JSON array, not an object a line"),
        (b'{"question": "a", "answer": 1}', ["data.max_prompt_tokens=2"], "all 1 prompts"),
    ],
)
def test_unusable_data_file_is_refused(
    refused: Refused, model: Path, tmp_path: Path, content: bytes, overrides: list[str], reason: str
) -> None:
    (file := tmp_path / "problems.jsonl").write_bytes(content)
    message = refused(
        "model=hf", f"model.path={model}", "data=jsonl", f"data.path={file}", "data.held_out_fraction=0", *overrides
    )
    assert message.startswith("data.") and str(file) in message and reason in message


def test_task_options_without_names_are_refused(refused: Refused, model: Path) -> None:
    options = ("data=reasoning_gym", "data.tasks=[chain_sum]", "data.task_options={chain_sum:7}")
    message = refused("model=hf", f"model.path={model}", *options)
    assert message.startswith("data.task_options.chain_sum=7: give the task's options by name")


def test_training_on_benchmark_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(40)]
    (file := tmp_path / "problems.jsonl").write_text("\n".join(lines))
    message = refused("model=hf", f"model.path={model}", "data=jsonl", f"data.path={file}", "data.evaluation_only=true")
    assert message.startswith(
        f"data.path={file}: these problems are for evaluation only (data.evaluation_only); train on other"
    )


def test_unknown_task_is_refused(refused: Refused, model: Path) -> None:
    message = refused("model=hf", f"model.path={model}", "data=reasoning_gym", "data.tasks=[chain_sums]")
    assert message.startswith("data.tasks: reasoning_gym has no task 'chain_sums'; did you mean chain_sum")


def test_data_file_smaller_than_step_is_refused(refused: Refused, model: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(40)]
    (file := tmp_path / "problems.jsonl").write_text("\n".join(lines))
    message = refused("model=hf", f"model.path={model}", "data=jsonl", f"data.path={file}", "rollout.prompts_per_step=60")
    assert "rollout.prompts_per_step" in message and "60" in message
