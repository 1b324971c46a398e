"""From a problem to the token ids that the models read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tandem.config import ConfigError, DataConfig
from tandem.rollout import Problem, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt(problem: Problem, tokenizer: PreTrainedTokenizerBase, data: DataConfig) -> Prompt:
    """A problem in `data.template` and, if `data.chat`, in the tokenizer's chat template, up to where the answer begins.

    Raises `ConfigError` when the template has no place for the question or the tokenizer no chat template.
    """
    if "{question}" not in data.template:
        raise ConfigError(f"data.template={data.template!r}: it must contain {{question}}")
    # Not str.format: templates and questions are full of LaTeX braces.
    message = data.template.replace("{question}", problem.question)
    if not data.chat:
        return Prompt(problem, tuple(tokenizer.encode(message)))
    if not tokenizer.chat_template:
        raise ConfigError(f"data.chat=true: {tokenizer.name_or_path} has no chat template; set data.chat=false")
    chat = [{"role": "system", "content": data.system}] if data.system else []
    chat.append({"role": "user", "content": message})
    return Prompt(problem, tuple(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)))


def encode(
    problems: Iterable[Problem],
    tokenizer: PreTrainedTokenizerBase,
    data: DataConfig,
    junior_tokenizers: Mapping[int, PreTrainedTokenizerBase] | None = None,
) -> tuple[list[Prompt], int]:
    """The prompts of `problems` that have at most `data.max_prompt_tokens` tokens, and how many were dropped for having more.

    `junior_tokenizers` are those of the juniors that have their own, by index: no reader's prompt may be longer. Raises
    `ConfigError` when none is left.
    """
    others = junior_tokenizers or {}

    def read_by_all(problem: Problem) -> Prompt:
        theirs = {index: prompt(problem, other, data).token_ids for index, other in others.items()}
        return replace(prompt(problem, tokenizer, data), junior_token_ids=theirs)

    def length(read: Prompt) -> int:
        return max(map(len, (read.token_ids, *read.junior_token_ids.values())))

    prompts = [read_by_all(problem) for problem in problems]
    kept = [read for read in prompts if length(read) <= data.max_prompt_tokens]
    if prompts and not kept:
        raise ConfigError(
            f"data.max_prompt_tokens={data.max_prompt_tokens}: all {len(prompts)} prompts are longer; "
            f"the shortest has {min(map(length, prompts))} tokens"
        )
    return kept, len(prompts) - len(kept)
