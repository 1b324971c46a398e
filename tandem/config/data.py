"""The problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from tandem.config.setting import setting

ENDLESS = ("arith", "reasoning_gym")
FILES = ("jsonl", "parquet")
SOURCES = (*ENDLESS, *FILES, "hub")


@dataclass
class DataConfig:
    """Where problems come from."""

    source: str = setting(MISSING, choices=SOURCES)
    """`arith` (the offline task), `reasoning_gym` (its generated tasks), `jsonl` or `parquet` (a file), or `hub` (a data set of
    the Hugging Face hub)"""
    path: str = ""
    """the file, when source=jsonl or parquet; a name on the hub, or a folder made like one, when source=hub"""
    subset: str = ""
    """which of the data set's configurations, when source=hub and it has several"""
    split: str = "train"
    """which of the data set's splits, when source=hub"""
    held_out_path: str = ""
    """the held-out file, when source=jsonl or parquet; empty: some of `path`, by a hash of the problem"""
    held_out_fraction: float = setting(0.1, at_least=0, at_most=0.99)
    """the fraction of problems held out for evaluation, by a hash of the problem"""
    held_out_problems: int = setting(0, at_least=0)
    """hold out exactly so many, the first by that hash, of which too long ones are then left out; 0: `held_out_fraction`"""
    evaluation_only: bool = False
    """whether all problems are held out, and training on them is refused"""
    question_field: str = "question"
    """the field of a row that holds the question, a text or a list of messages; a dotted name reaches into objects and lists"""
    answer_field: str = "answer"
    """the field of a row, named likewise, that holds the answer or a solution that marks it"""
    answer_pattern: str = ""
    """a regular expression whose first group is the answer in that field; empty: what the field marks as its final answer, as
    a response would, or else the whole field"""
    on_bad_line: str = setting("stop", choices=("stop", "skip"))
    """what a malformed row of a file does: `stop` the run before it begins, or `skip` the row, which is counted"""
    pass_rates: str = ""
    """the file that launch/difficulty.py writes: how often the base solves each problem; empty: none is left out for it"""
    min_pass_rate: float = setting(0.01, at_least=0, at_most=1)
    """the smallest such share"""
    max_pass_rate: float = setting(0.99, at_least=0, at_most=1)
    """training problems that the base solves less or more often are left out; those not in the file stay"""
    difficulty_rollouts: int = setting(8, at_least=1)
    """how often launch/difficulty.py tries each problem"""
    tasks: list[str] = setting([])
    """the tasks of the mix, when source=reasoning_gym"""
    task_weights: list[float] = setting([], above=0)
    """how often each task is drawn, relative to the others; empty: all equally often"""
    task_options: dict[str, Any] = setting({})
    """the tasks' own options, by task: `{chain_sum: {max_terms: 3}}`"""
    verifier: str = ""
    """what judges a response: a function `package.module:function` of (gold, response), run in the judge's workers; empty:
    mathematical equivalence of the final answer"""
    template: str = "{question}"
    """the user message, the last one where a question is a list of messages; `{question}` is replaced"""
    system: str = ""
    """the system message; empty: that of the messages, or the chat template's own, if there is one"""
    chat: bool = True
    """whether the tokenizer's chat template wraps the messages"""
    max_prompt_tokens: int = setting(64, at_least=1)
    """problems whose prompt is longer, for the senior or a junior with its own tokenizer, are left out"""
