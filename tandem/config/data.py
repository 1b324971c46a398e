"""The problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from tandem.config.setting import setting

ENDLESS = ("arith", "reasoning_gym", "sentences")
FILES = ("jsonl", "parquet")
SOURCES = (*ENDLESS, *FILES, "hub")


@dataclass
class DataConfig:
    """The source of the problems, their split and their prompts."""

    source: str = setting(MISSING, choices=SOURCES)
    """`arith` (the offline task), `reasoning_gym` (its generated tasks), `sentences` (sentences with given words), `jsonl` or
    `parquet` (a file), or `hub` (a dataset of the Hugging Face hub)"""
    path: str = setting("", path=True)
    """the file, when source=jsonl or parquet; a name on the hub or a folder with the same layout, when source=hub"""
    subset: str = ""
    """the configuration of the dataset, when source=hub and it has several"""
    split: str = "train"
    """the split of the dataset, when source=hub"""
    held_out_path: str = setting("", path=True)
    """the held-out file, when source=jsonl or parquet; empty: hold out problems of `path`, by a hash of the problem"""
    held_out_fraction: float = setting(0.1, at_least=0, at_most=0.99)
    """the fraction of problems held out for evaluation, by a hash of the problem"""
    held_out_problems: int = setting(0, at_least=0)
    """number of problems to hold out, the first in order of a hash of the problem; those that are too long are then left out;
    0: use `held_out_fraction`"""
    evaluation_only: bool = False
    """whether all problems are held out and training on them is refused"""
    expected_rows: int = setting(0, at_least=0)
    """the number of rows that the file or dataset must have; 0: any"""
    question_field: str = "question"
    """the field of a row that holds the question, a text or a list of messages; a dotted name selects inside objects and
    lists"""
    answer_field: str = "answer"
    """the field of a row that holds the answer, or a solution with a marked answer; a dotted name too"""
    answer_pattern: str = ""
    """a regular expression whose first group is the answer in that field; `boxed`: its last \\boxed{}; empty: the field's
    marked final answer, else the whole field"""
    on_bad_line: str = setting("stop", choices=("stop", "skip"))
    """the reaction to a malformed row of a file: `stop` before the run begins, or `skip` the row and count it"""
    pass_rates: str = setting("", path=True)
    """the file of launch/difficulty.py with each problem's pass rate, the share of attempts that the base model solves; empty:
    no selection by pass rate"""
    min_pass_rate: float = setting(0.01, at_least=0, at_most=1)
    """training problems with a smaller pass rate are left out; problems not in the file stay"""
    max_pass_rate: float = setting(0.99, at_least=0, at_most=1)
    """training problems with a greater pass rate are left out"""
    difficulty_rollouts: int = setting(8, at_least=1)
    """attempts of launch/difficulty.py at each problem"""
    tasks: list[str] = setting([])
    """the tasks of the mix, when source=reasoning_gym"""
    task_weights: list[float] = setting([], above=0)
    """relative frequency of each task; empty: equal frequencies"""
    task_options: dict[str, Any] = setting({})
    """options of the tasks, by task: `{chain_sum: {max_terms: 3}}`"""
    verifier: str = ""
    """the function that judges a response, as `package.module:function` of (gold, response); the judge's workers run it; empty:
    mathematical equivalence of the final answer"""
    template: str = "{question}"
    """the user message, in which `{question}` is replaced; of a list of messages, the last user message"""
    system: str = ""
    """the system message; empty: that of the messages, else the default of the chat template, if there is one"""
    chat: bool = True
    """whether the tokenizer's chat template wraps the messages"""
    max_prompt_tokens: int = setting(64, at_least=1)
    """problems with a longer prompt, for the senior or for a junior with another tokenizer, are left out"""
