"""Tests of thinking, also where a chat template opens it in the prompt: it contains no answer."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from tandem.config.data import DataConfig
from tandem.data.prompts import prompt
from tandem.records.saved_rollouts import Origin, load_step, save_step
from tandem.records.step_folders import step_folder
from tandem.records.transcript import transcript
from tandem.rollout import Group, Problem
from tandem.schedule import Schedule
from tandem.verify.extract import compile_pattern, final_answer, opened_thinking
from tandem.verify.judgement import Verdict
from tandem.verify.pool import VerifierPool
from tests.support.builders import judged_group, scheduled_rollout, small_tokenizer

PROBLEM = Problem("0", "2+3?", "5")
DATA = DataConfig(source="jsonl")


def reader(end: str) -> PreTrainedTokenizerBase:
    """Return a tokenizer whose chat template ends with `end`."""
    tokenizer = deepcopy(small_tokenizer())
    messages = "{% for message in messages %}<user>{{ message.content }}{% endfor %}<assistant>"
    tokenizer.chat_template = f"{messages}{{{{ {end!r} }}}}"
    return tokenizer


def written(texts: list[str], opening: str = "") -> Group:
    """Return a group of `texts` whose prompt ends with `opening`."""
    rollouts = [scheduled_rollout(Schedule(), np.ones(9, bool), seed, [1, 2, 3]) for seed in range(len(texts))]
    for rollout, text in zip(rollouts, texts, strict=True):
        rollout.text = text
    group = judged_group(rollouts)
    group.prompt = replace(group.prompt, opening=opening)
    return group


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("user: 2+3?<|assistant|><think>\n", "<think>\n"),
        ("<|assistant|><seed:think>", "<seed:think>"),
        ("<|assistant|><think>\n\n</think>\n\n", ""),
        ("What does <think> mean?", ""),
        ("2+3?", ""),
    ],
)
def test_prompt_can_open_thinking(prompt: str, opening: str) -> None:
    assert opened_thinking(prompt) == opening
    assert final_answer(opening + "so \\boxed{5}, or not") == (None if opening else "5")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\\boxed{1}</think>\\boxed{2}", "2"),
        ("\\boxed{2}<think>\\boxed{1}</think>", "2"),
        ("<think>\\boxed{1}</think>", None),
        ("\\boxed{2}<think>\\boxed{1}", "2"),
        ("<think>a<think>b</think>\\boxed{2}", "2"),
        ("the template opened it: \\boxed{1}</think>\\boxed{2}", "2"),
        ("\\boxed{1}</think>", None),
        ("\\box<think></think>ed{1}", None),
    ],
)
def test_thinking_has_no_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer
    assert final_answer(text, compile_pattern(r"\\boxed\{(\d)")) == answer


@pytest.mark.parametrize(
    ("end", "opening"),
    [
        ("<think>\n", "<think>\n"),
        ("<think>", "<think>"),
        ("<think>\n\n</think>\n\n", ""),
        ("", ""),
    ],
)
def test_prompt_records_whether_template_opens_thinking(end: str, opening: str) -> None:
    assert prompt(PROBLEM, reader(end), DATA).opening == opening
    assert prompt(PROBLEM, small_tokenizer(), replace(DATA, chat=False, template="{question}" + end)).opening == opening


def test_question_about_thinking_does_not_open_it() -> None:
    assert prompt(Problem("0", "What does <think> do?", "5"), reader(""), DATA).opening == ""


def test_missing_closing_tag_is_tolerated() -> None:
    tokenizer = reader("<think>\n")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    assert prompt(PROBLEM, tokenizer, DATA).opening == ""


def test_truncated_thinking_has_no_answer() -> None:
    texts = ["so \\boxed{5}, or is it", "so \\boxed{6}?</think>It is \\boxed{5}.", "so \\boxed{5}</think>", "<think>\\boxed{5}"]
    group = written(texts)
    group.prompt = prompt(PROBLEM, reader("<think>\n"), DATA)
    with VerifierPool(1, timeout_s=5.0, memory_gib=1.0) as pool:
        judged = pool.grade([("5", response) for response in group.responses])
        group.prompt = prompt(PROBLEM, reader(""), DATA)
        unopened = pool.grade([("5", response) for response in group.responses])
    unparsable, correct = Verdict.UNPARSABLE, Verdict.CORRECT
    assert [judgement.verdict for judgement in judged] == [unparsable, correct, unparsable, unparsable]
    assert [judgement.verdict for judgement in unopened] == [correct, correct, unparsable, unparsable]


def test_samples_contain_judged_text() -> None:
    group = written(["so \\boxed{5}"], "<think>\n")
    assert transcript(1, group, 0, small_tokenizer(), held_out=True)["response"] == "<think>\nso \\boxed{5}"


def test_saved_rollouts_keep_opening_of_prompt(tmp_path: Path) -> None:
    group = written(["so \\boxed{5}"], "<think>\n")
    save_step(tmp_path, 1, [group], Origin("model", "tokenizer", 200, 1.0))
    assert load_step(step_folder(tmp_path, 1))[0].responses == group.responses
