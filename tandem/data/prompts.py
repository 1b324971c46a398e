"""Conversion of problems to prompts: the token ids that the models read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.rollout import Message, Problem, Prompt
from tandem.verify.extract import opened_thinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE_ERRORS = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""The errors of a chat template: those it raises itself, and those of Python for the expressions in it."""
_PARALLEL = "TOKENIZERS_PARALLELISM"
_OPENING_TOKENS = 16
"""Enough tokens to hold `<think>` and the white space after it."""
_PROBES = ("What is 1 + 1?", "How many days has a week?")


def prompt(problem: Problem, tokenizer: PreTrainedTokenizerBase, data: DataConfig) -> Prompt:
    """Return the prompt of a problem: `data.template` and, if `data.chat`, the tokenizer's chat template applied to it.

    The messages before the question are not changed. Raises `ConfigError` when there is no chat template, or when it refuses
    what the configuration adds, and `ValueError` when it refuses the problem's messages.
    """
    if not data.chat:
        return _prompt(problem, _encoded([problem], tokenizer, data)[0], tokenizer)
    try:
        return _prompt(problem, _encoded([problem], tokenizer, data)[0], tokenizer)
    except TEMPLATE_ERRORS as error:
        name, reason = tokenizer.name_or_path, " ".join(str(error).split())
        if data.system and _renders(problem, tokenizer, replace(data, system="")):
            raise ConfigError(
                f"data.system={data.system!r:.40}: the chat template of {name} refuses a system message ({reason}); leave it "
                "out, and put its text into data.template"
            ) from error
        if problem.history:
            raise ValueError(f"the chat template of {name} refuses its messages ({reason})") from error
        raise ConfigError(
            f"data.chat=true: the chat template of {name} fails on a message of the user ({reason}); mend it, or set "
            "data.chat=false"
        ) from error


def check_reader(tokenizer: PreTrainedTokenizerBase, data: DataConfig) -> None:
    """Raise `ConfigError` when the tokenizer's chat template is missing, or refuses or drops the question or `data.system`."""
    if not data.chat:
        return
    if not tokenizer.chat_template:
        raise ConfigError(f"data.chat=true: {tokenizer.name_or_path} has no chat template; set data.chat=false")
    one, other = (Problem("", question, "") for question in _PROBES)
    encoded = prompt(one, tokenizer, data)
    if tokenizer.decode(encoded.token_ids) == tokenizer.decode(prompt(other, tokenizer, data).token_ids):
        raise ConfigError(
            f"data.chat=true: the chat template of {tokenizer.name_or_path} leaves the question out; mend it, or set "
            "data.chat=false"
        )
    if data.system and encoded == prompt(one, tokenizer, replace(data, system="")):
        raise ConfigError(
            f"data.system={data.system!r:.40}: the chat template of {tokenizer.name_or_path} leaves it out; put its text into "
            "data.template"
        )


def prompt_length(problem: Problem, tokenizers: Sequence[PreTrainedTokenizerBase], data: DataConfig) -> int:
    """Return the number of tokens of a problem's prompt, the most of any of `tokenizers`; 0 without tokenizers."""
    return max((len(prompt(problem, tokenizer, data).token_ids) for tokenizer in tokenizers), default=0)


def prompt_lengths(
    problems: Sequence[Problem], tokenizers: Sequence[PreTrainedTokenizerBase], data: DataConfig
) -> list[int | ValueError]:
    """Return `prompt_length` of each problem, or the error that it raises. All cores tokenize."""
    if not (problems and tokenizers):
        return [0] * len(problems)
    try:
        with _all_cores():
            encoded = [_encoded(problems, tokenizer, data) for tokenizer in tokenizers]
    except TEMPLATE_ERRORS:  # of one of them
        return [_length_or_error(problem, tokenizers, data) for problem in problems]
    return [max(map(len, readings)) for readings in zip(*encoded, strict=True)]


def _encoded(problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase, data: DataConfig) -> list[tuple[int, ...]]:
    """Return the tokens of each problem's prompt, as `prompt`."""
    # Not str.format: templates and questions are full of LaTeX braces.
    messages = [data.template.replace("{question}", problem.question) for problem in problems]
    if not data.chat:
        return _beginnings(messages, tokenizer)
    system = [("system", data.system)] if data.system else []
    chats = [[*system, *problem.history, ("user", message)] for problem, message in zip(problems, messages, strict=True)]
    return _chats(chats, tokenizer)


def _length_or_error(problem: Problem, tokenizers: Sequence[PreTrainedTokenizerBase], data: DataConfig) -> int | ValueError:
    try:
        return prompt_length(problem, tokenizers, data)
    except (ConfigError, ValueError) as error:
        return error


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let tokenizers use all cores in the block: they read the environment variable at every call.

    Afterwards the variable has its old value, or `false` if it had none.
    """
    before = os.environ.get(_PARALLEL)
    os.environ[_PARALLEL] = "true"
    try:
        yield
    finally:
        os.environ[_PARALLEL] = before or "false"


def encode(
    problems: Iterable[Problem],
    tokenizer: PreTrainedTokenizerBase,
    data: DataConfig,
    junior_tokenizers: Mapping[int, PreTrainedTokenizerBase] | None = None,
) -> tuple[list[Prompt], int]:
    """Return the prompts of `problems`, and the number of those dropped for having more than `data.max_prompt_tokens` tokens.

    `junior_tokenizers` holds, by index, the tokenizers of the juniors that have their own; the limit holds for each reader's
    prompt. Raises `ConfigError` when every prompt is too long.
    """
    others = junior_tokenizers or {}

    def encode_for_all(problem: Problem) -> Prompt:
        junior_token_ids = {index: prompt(problem, other, data).token_ids for index, other in others.items()}
        return replace(prompt(problem, tokenizer, data), junior_token_ids=junior_token_ids)

    def length(encoded: Prompt) -> int:
        return max(map(len, (encoded.token_ids, *encoded.junior_token_ids.values())))

    prompts = [encode_for_all(problem) for problem in problems]
    kept = [encoded for encoded in prompts if length(encoded) <= data.max_prompt_tokens]
    if prompts and not kept:
        raise all_too_long(len(prompts), min(map(length, prompts)), data)
    return kept, len(prompts) - len(kept)


def all_too_long(count: int, shortest: int, data: DataConfig, where: str = "") -> ConfigError:
    """Return the error for `count` prompts that are all too long; the shortest has `shortest` tokens."""
    return ConfigError(
        f"data.max_prompt_tokens={data.max_prompt_tokens}: all {count} prompts{where} are longer; the shortest has {shortest} "
        "tokens: allow more, or give shorter problems"
    )


def _prompt(problem: Problem, token_ids: tuple[int, ...], tokenizer: PreTrainedTokenizerBase) -> Prompt:
    # Decoded like a rollout's text, without special tokens: if <think> is special, neither text holds it.
    end = tokenizer.decode(token_ids[-_OPENING_TOKENS:], skip_special_tokens=True)
    return Prompt(problem, token_ids, opening=opened_thinking(end))


def _chats(chats: Sequence[Sequence[Message]], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    conversations = [[{"role": role, "content": content} for role, content in messages] for messages in chats]
    return list(map(tuple, tokenizer.apply_chat_template(conversations, add_generation_prompt=True, return_dict=False)))


def _renders(problem: Problem, tokenizer: PreTrainedTokenizerBase, data: DataConfig) -> bool:
    try:
        _encoded([problem], tokenizer, data)
    except TEMPLATE_ERRORS:
        return False
    return True


def _beginnings(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    """Return the tokens of unfinished texts: with the special tokens that begin a text, without those that end one.

    Raises `ConfigError` when adding special tokens changes the tokens of a text.
    """
    # A probe without special tokens shows the number of tokens that the tokenizer puts before a text.
    (probe, *marked), (bare_probe, *bare) = (
        tokenizer([_PROBES[0], *texts], add_special_tokens=added)["input_ids"] for added in (True, False)
    )
    starts = [start for start in range(len(probe)) if probe[start : start + len(bare_probe)] == bare_probe]
    return [_beginning(*pair, starts, tokenizer) for pair in zip(marked, bare, strict=True)]


def _beginning(
    marked: list[int], bare: list[int], starts: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> tuple[int, ...]:
    for start in starts:
        if marked[start : start + len(bare)] == bare:
            return tuple(marked[: start + len(bare)])
    raise ConfigError(
        f"data.chat=false: {tokenizer.name_or_path} changes the tokens of a text when it adds its special ones; set "
        "data.chat=true, or mend the tokenizer's post-processor"
    )
