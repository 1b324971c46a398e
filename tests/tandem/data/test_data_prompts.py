"""Tests of prompts: chat templates that reject or ignore messages, tokenizers that end every text, limits of length."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase

from tandem.config.checks.data import data_errors
from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.problems import load_problems
from tandem.data.prompts import encode, prompt
from tandem.rollout import Problem
from tests.support.builders import small_tokenizer
from tests.support.problem_files import SUMS, jsonl, write_jsonl

PROBLEM = Problem("id", "What is 1 + 1?", "2")
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<start_of_turn>{{ message['role'] }}\n{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)
"""Gemma's chat template, shortened."""


def reader(template: str) -> PreTrainedTokenizerBase:
    tokenizer = deepcopy(small_tokenizer())
    tokenizer.chat_template, tokenizer.name_or_path = template, "org/model"
    return tokenizer


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "sums.jsonl", SUMS)


def refusal(data: DataConfig, tokenizer: PreTrainedTokenizerBase) -> str:
    with pytest.raises(ConfigError) as caught:
        load_problems(data, 1, tokenizer)
    return str(caught.value)


# Chat templates


def test_system_message_rejected_by_template_is_refused_with_key(sums: Path) -> None:
    data = jsonl(sums, max_prompt_tokens=200)
    load_problems(data, 1, reader(GEMMA))
    assert refusal(replace(data, system="Be brief."), reader(GEMMA)) == (
        "data.system='Be brief.': the chat template of org/model refuses a system message (System role not supported); leave "
        "it out, and put its text into data.template"
    )


def test_system_message_ignored_by_template_is_refused(sums: Path) -> None:
    template = "{% for message in messages if message.role == 'user' %}{{ message.content }}{% endfor %}"
    message = refusal(jsonl(sums, system="Be brief."), reader(template))
    assert message.startswith("data.system='Be brief.': the chat template of org/model leaves it out; put its text into data.")


def test_question_ignored_by_template_is_refused(sums: Path) -> None:
    template = "{% for part in messages[0].content if part.type == 'text' %}{{ part.text }}{% endfor %}Answer:"
    message = refusal(jsonl(sums), reader(template))
    assert message.startswith("data.chat=true: the chat template of org/model leaves the question out; mend it, or set data.")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages[0].content + 1 }}", "can only concatenate str"),
        ("{{ messages[0].contents.text }}", "has no attribute 'contents'"),
        ("{% for message in messages %}", "Unexpected end of template"),
        ("{{ 1 // 0 }}", "by zero"),
        ("{{ raise_exception('no') }}", "no"),
    ],
)
def test_failing_template_is_refused(sums: Path, template: str, reason: str) -> None:
    message = refusal(jsonl(sums), reader(template))
    assert message.startswith("data.chat=true: the chat template of org/model fails on a message of the user (")
    assert reason in message and message.endswith("; mend it, or set data.chat=false")


def test_tokenizer_without_chat_template_is_refused(sums: Path) -> None:
    assert refusal(jsonl(sums), reader("")) == "data.chat=true: org/model has no chat template; set data.chat=false"


def test_row_with_messages_rejected_by_template_is_malformed(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One and one?"}]
    path = write_jsonl(tmp_path / "x.jsonl", [*SUMS, {"question": talk, "answer": "2"}])
    data = jsonl(path, max_prompt_tokens=200)
    message = refusal(data, reader(GEMMA))
    assert "\n  line 41: the chat template of org/model refuses its messages (System role not supported)" in message
    assert load_problems(replace(data, on_bad_line="skip"), 1, reader(GEMMA)).skipped == 1


def test_error_names_junior_whose_template_rejects_messages(sums: Path) -> None:
    template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}{% endfor %}"
    with pytest.raises(ConfigError, match=r"data\.system=.*the chat template of org/model refuses a system message"):
        load_problems(jsonl(sums, system="Be brief.", max_prompt_tokens=200), 1, reader(template), {0: reader(GEMMA)})


# Without a chat template


def ending(single: str) -> PreTrainedTokenizerBase:
    """Return a tokenizer that adds its special tokens to a text by the template `single`."""
    tokenizer = deepcopy(small_tokenizer())
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=ids)
    return tokenizer


ENDINGS = {single: ending(single) for single in ("$A", "<s> $A", "$A </s>", "<s> $A </s>", "$A </s> </s>", "<s> <s> $A </s>")}


@given(st.sampled_from(list(ENDINGS)), st.text(min_size=1, max_size=20) | st.sampled_from(["<s>", "</s>", "</s></s>", "a</s>"]))
def test_prompt_without_chat_template_has_no_end_token(single: str, text: str) -> None:
    tokenizer = ENDINGS[single]
    read = prompt(replace(PROBLEM, question=text), tokenizer, DataConfig(source="arith", chat=False)).token_ids
    start = single.split(" $A")[0].split() if single.startswith("<s>") else []
    assert list(read) == tokenizer.convert_tokens_to_ids(start) + tokenizer.encode(text, add_special_tokens=False)


# Settings


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"template": "Say yes."}, "data.template='Say yes.': it must contain {question}"),
        ({"system": "Be brief.", "chat": False}, "data.system='Be brief.': it needs a chat template; set data.chat=true"),
        (
            {"answer_field": "question"},
            "data.answer_field=question: it is data.question_field too; name the field of the answer",
        ),
        ({"source": "hub", "split": ""}, "data.split is empty: name one of the dataset's splits, such as train"),
    ],
)
def test_invalid_settings_are_refused(fields: dict[str, object], reason: str) -> None:
    [found] = data_errors(replace(DataConfig(source="jsonl"), **fields))  # type: ignore[arg-type]
    assert found.startswith(reason)


# Prompts that are too long


@pytest.mark.parametrize("source", ["arith", "jsonl", "reasoning_gym"])
def test_error_of_limit_names_shortest_prompt(source: str, sums: Path) -> None:
    tokenizer = small_tokenizer()
    data = DataConfig(source=source, path=str(sums), tasks=["chain_sum"], max_prompt_tokens=3)
    message = refusal(data, tokenizer)
    pattern = r"data\.max_prompt_tokens=3: all \d+ prompts .* are longer; the shortest has (\d+) tokens: allow more"
    shortest = re.match(pattern, message)
    assert shortest
    load_problems(replace(data, max_prompt_tokens=int(shortest[1]), evaluation_only=source == "jsonl"), 1, tokenizer)


def test_error_of_incomplete_batch_names_limit(sums: Path) -> None:
    tokenizer = small_tokenizer()
    prompts, _ = encode(load_problems(jsonl(sums), 1).train.batch(0, 30), tokenizer, jsonl(sums, max_prompt_tokens=200))
    limit = min(len(prompt.token_ids) for prompt in prompts)
    problems = load_problems(jsonl(sums, max_prompt_tokens=limit), 1, tokenizer)
    with pytest.raises(ConfigError, match=rf"fewer prompts or raise data\.max_prompt_tokens={limit}, which left \d+ out"):
        problems.train.batch(0, 39)


def test_error_of_too_long_held_out_problems_names_limit(sums: Path, tmp_path: Path) -> None:
    held = write_jsonl(tmp_path / "held.jsonl", [{"question": "how many? " * 100, "answer": 1}])
    message = refusal(jsonl(sums, held_out_path=str(held)), small_tokenizer())
    assert message.startswith(
        f"data.max_prompt_tokens=64: all 1 prompts for evaluation of data.held_out_path={held} are longer"
    )
