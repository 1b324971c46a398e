"""From a problem to the token ids that the models read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
"""What a chat template may raise: its own refusals, and what Python raises for the expressions in it."""
_OPENING_TOKENS = 16
"""More tokens than `<think>` and the white space after it have."""
_PROBES = ("What is 1 + 1?", "How many days has a week?")


def prompt(problem: Problem, tokenizer: PreTrainedTokenizerBase, data: DataConfig) -> Prompt:
    """Return a problem in `data.template` and, if `data.chat`, in the tokenizer's chat template, up to where the answer begins.

    The messages before the question stay as they are. Raises `ConfigError` when the tokenizer has no chat template or it
    refuses what the configuration says, and `ValueError` when it refuses the problem's own messages.
    """
    # Not str.format: templates and questions are full of LaTeX braces.
    message = data.template.replace("{question}", problem.question)
    if not data.chat:
        return _prompt(problem, _beginning(message, tokenizer), tokenizer)
    system = [("system", data.system)] if data.system else []
    try:
        return _prompt(problem, _chat([*system, *problem.history, ("user", message)], tokenizer), tokenizer)
    except TEMPLATE_ERRORS as error:
        name, reason = tokenizer.name_or_path, " ".join(str(error).split())
        if system and _renders([*problem.history, ("user", message)], tokenizer):
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
    """Raise `ConfigError` when the tokenizer's chat template refuses, or leaves out, what the configuration has it wrap."""
    if not data.chat:
        return
    if not tokenizer.chat_template:
        raise ConfigError(f"data.chat=true: {tokenizer.name_or_path} has no chat template; set data.chat=false")
    one, other = (Problem("", question, "") for question in _PROBES)
    read = prompt(one, tokenizer, data)
    if tokenizer.decode(read.token_ids) == tokenizer.decode(prompt(other, tokenizer, data).token_ids):
        raise ConfigError(
            f"data.chat=true: the chat template of {tokenizer.name_or_path} leaves the question out; mend it, or set "
            "data.chat=false"
        )
    if data.system and read == prompt(one, tokenizer, replace(data, system="")):
        raise ConfigError(
            f"data.system={data.system!r:.40}: the chat template of {tokenizer.name_or_path} leaves it out; put its text into "
            "data.template"
        )


def prompt_length(problem: Problem, tokenizers: Sequence[PreTrainedTokenizerBase], data: DataConfig) -> int:
    """Return the tokens of the longest prompt that any of `tokenizers` makes of a problem; 0 without any."""
    return max((len(prompt(problem, tokenizer, data).token_ids) for tokenizer in tokenizers), default=0)


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
        raise all_too_long(len(prompts), min(map(length, prompts)), data)
    return kept, len(prompts) - len(kept)


def all_too_long(count: int, shortest: int, data: DataConfig, where: str = "") -> ConfigError:
    """Return the refusal of `count` problems whose prompts are all too long, the shortest of `shortest` tokens."""
    return ConfigError(
        f"data.max_prompt_tokens={data.max_prompt_tokens}: all {count} prompts{where} are longer; the shortest has {shortest} "
        "tokens: allow more, or give shorter problems"
    )


def _prompt(problem: Problem, token_ids: tuple[int, ...], tokenizer: PreTrainedTokenizerBase) -> Prompt:
    # Decoded as a rollout's text is: where <think> is a special token the text has no </think> either.
    end = tokenizer.decode(token_ids[-_OPENING_TOKENS:], skip_special_tokens=True)
    return Prompt(problem, token_ids, opening=opened_thinking(end))


def _chat(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    chat = [{"role": role, "content": content} for role, content in messages]
    return tuple(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))


def _renders(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> bool:
    try:
        _chat(messages, tokenizer)
    except TEMPLATE_ERRORS:
        return False
    return True


def _beginning(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens of a text that goes on: with what the tokenizer puts before a text, without what it puts after one.

    Raises `ConfigError` when the two cannot be told apart.
    """
    # How many stand before a text is seen from one that holds no special tokens itself.
    marked, bare = (tokenizer.encode(_PROBES[0], add_special_tokens=added) for added in (True, False))
    starts = [start for start in range(len(marked)) if marked[start : start + len(bare)] == bare]
    marked, bare = (tokenizer.encode(text, add_special_tokens=added) for added in (True, False))
    for start in starts:
        if marked[start : start + len(bare)] == bare:
            return tuple(marked[: start + len(bare)])
    raise ConfigError(
        f"data.chat=false: {tokenizer.name_or_path} changes the tokens of a text when it adds its special ones; set "
        "data.chat=true, or mend the tokenizer's post-processor"
    )
