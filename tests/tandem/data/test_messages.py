"""Tests of datasets whose prompts are lists of messages, such as verl's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tandem.config.data import DataConfig
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.data.rows import problem_of
from tandem.records.saved_rollouts import Origin, load_step, save_step
from tandem.records.step_folders import step_folder
from tandem.rollout import Problem
from tests.support.builders import small_tokenizer
from tests.support.problem_files import SUMS, arrow_cache, jsonl, refusal, write_jsonl, write_parquet
from tests.support.random_groups import random_groups

VERL: dict[str, Any] = {"question_field": "prompt", "answer_field": "reward_model.ground_truth"}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with arrow_cache(tmp_path_factory.mktemp("datasets")):
        yield


def verl_rows() -> list[dict[str, object]]:
    """Return the rows of `SUMS` in verl's format of GSM8K."""
    return [
        {
            "data_source": "openai/gsm8k",
            "prompt": [{"role": "user", "content": row["question"]}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": str(row["answer"])},
            "extra_info": {"index": index, "split": "train"},
        }
        for index, row in enumerate(SUMS)
    ]


@pytest.mark.parametrize("source", ["jsonl", "parquet", "hub"])
def test_verl_data_and_plain_texts_hold_same_problems(tmp_path: Path, source: str) -> None:
    path = tmp_path / "verl" / ("train.parquet" if source != "jsonl" else "train.jsonl")
    path.parent.mkdir()
    write_jsonl(path, verl_rows()) if source == "jsonl" else write_parquet(path, verl_rows())
    data = DataConfig(source=source, path=str(path.parent if source == "hub" else path), **VERL)
    texts = load_problems(jsonl(write_jsonl(tmp_path / "plain.jsonl", SUMS)), 1)
    assert load_problems(data, 1).held_out(40) == texts.held_out(40)
    assert load_problems(data, 1).train.batch(3, 8) == texts.train.batch(3, 8)


def test_missing_column_in_struct_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", verl_rows())
    message = refusal(DataConfig(source="parquet", path=str(path), question_field="prompt", answer_field="reward_model.truth"))
    assert message.startswith("data.answer_field=reward_model.truth: there is no such column in data.path=")
    assert "reward_model.style, reward_model.ground_truth" in message


def conversation(*messages: tuple[str, str]) -> Problem:
    row = {"question": [{"role": role, "content": content} for role, content in messages], "answer": "4"}
    return problem_of(row, DataConfig(source="jsonl"))


def test_earlier_messages_precede_question_in_prompt() -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"
    problem = conversation(("system", "Be brief."), ("user", "2?"), ("assistant", "two"), ("user", " 4? "))
    assert (problem.question, problem.history) == ("4?", (("system", "Be brief."), ("user", "2?"), ("assistant", "two")))
    data = DataConfig(source="jsonl", template="{question} Box it.")
    [prompt], _ = encode([problem], tokenizer, data)
    read = "[system] Be brief.\n[user] 2?\n[assistant] two\n[user] 4? Box it.\n[assistant]"
    assert tokenizer.decode(prompt.token_ids) == tokenizer.decode(tokenizer.encode(read))


def test_identity_of_conversation_excludes_system_message() -> None:
    alone = problem_of({"question": "4?", "answer": "4"}, DataConfig(source="jsonl"))
    assert conversation(("user", "4?")).id == alone.id == conversation(("system", "Be brief."), ("user", " 4? ")).id
    longer = conversation(("user", "2?"), ("assistant", "two"), ("user", "4?"))
    assert longer.id not in (alone.id, conversation(("user", "3?"), ("assistant", "two"), ("user", "4?")).id)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "field 'question' is an empty list"),
        (["What is 1 + 1?"], "message 1 of field 'question' is not an object with a role and a content: 'What is 1 + 1?'"),
        ([{"role": "user"}], "message 1 of field 'question' is not an object with a role and a content"),
        (
            [{"role": "tool", "content": "4"}],
            "message 1 of field 'question' has the role 'tool'; choose system, user or assistant",
        ),
        ([{"role": ["user"], "content": "4"}], "message 1 of field 'question' has the role ['user']"),
        ([{"role": "user", "content": [{"type": "image"}]}], "the content of message 1 of field 'question' is not text"),
        ([{"role": "user", "content": "\ud800"}], "holds half a surrogate pair"),
        ([{"role": "user", "content": " "}], "the last message of field 'question' is empty"),
        (
            [{"role": "user", "content": "2?"}, {"role": "assistant", "content": "two"}],
            "field 'question' ends with a message of role 'assistant'; a prompt ends with the user's",
        ),
        (
            [{"role": "user", "content": "2?"}, {"role": "system", "content": "Be brief."}, {"role": "user", "content": "4?"}],
            "message 2 of field 'question' is a system message; only the first can be one",
        ),
    ],
)
def test_error_names_messages_that_form_no_prompt(tmp_path: Path, messages: list[object], reason: str) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [{"question": messages, "answer": 4}])
    message = refusal(jsonl(path))
    assert "\n  line 1: " in message and reason in message


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chat": False}, "data.chat=false: field 'question' holds messages, which take a chat template; set data.chat=true"),
        (
            {"system": "Be brief."},
            "data.system='Be brief.': the messages of field 'question' have a system message of their own",
        ),
    ],
)
def test_setting_inconsistent_with_messages_is_refused(tmp_path: Path, fields: dict[str, object], reason: str) -> None:
    row = {"question": [{"role": "system", "content": "Think."}, {"role": "user", "content": "4?"}], "answer": 4}
    path = write_jsonl(tmp_path / "x.jsonl", [*SUMS, row])
    message = refusal(jsonl(path, **fields, on_bad_line="skip"))
    assert message.startswith(reason) and message.endswith(f"(data.path={path}, line 41)")


def test_saved_messages_are_read_back_unchanged(tmp_path: Path) -> None:
    problem = conversation(("system", "Be brief."), ("user", "4?"))
    [group] = random_groups(1, groups=1)
    group.prompt = replace(group.prompt, problem=problem)
    save_step(tmp_path, 1, [group], Origin("model", "tokenizer", 200, 1.0))
    assert load_step(step_folder(tmp_path, 1))[0].prompt.problem == problem
