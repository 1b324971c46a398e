"""The prompts of requests in the tokens of all readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from launch.serving.errors import bad_request
from launch.serving.requests import ChatMessage
from tandem.authors import Authors
from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.prompts import prompt
from tandem.rollout import Problem, Prompt

_TEXT = DataConfig(source="arith", chat=False)
_CHAT = DataConfig(source="arith", chat=True)


class PromptEncoder:
    """Encodes prompts for a senior and its juniors. Each method raises `ApiError` for a prompt that cannot be read."""

    def __init__(self, authors: Authors) -> None:
        self._authors = authors

    def text(self, prompt: str | Sequence[int]) -> Prompt:
        """Return the prompt that begins with a text, or with token ids of the senior's tokenizer."""
        tokenizer = self._authors.tokenizer
        if isinstance(prompt, str):
            return self._encode(Problem("", prompt, ""), _TEXT, "prompt")
        if max(prompt) >= len(tokenizer):
            raise bad_request(f"prompt: {max(prompt)} is no token; the ids are below {len(tokenizer)}", "prompt")
        token_ids = tuple(prompt)
        text = Problem("", tokenizer.decode(prompt), "")
        return Prompt(text, token_ids, self._junior_token_ids(text, _TEXT, "prompt"))

    def chat(self, messages: Sequence[ChatMessage]) -> Prompt:
        """Return the prompt of a conversation, whose last message is the user's."""
        *history, last = messages
        if last.role != "user":
            raise bad_request(
                f"messages: the last one has the role {last.role!r:.40}; end with a message of the user", "messages"
            )
        if not self._authors.tokenizer.chat_template:
            raise bad_request("messages: the senior's tokenizer has no chat template; use /v1/completions", "messages")
        problem = Problem("", last.text, "", tuple((message.role, message.text) for message in history))
        return self._encode(problem, _CHAT, "messages")

    def _encode(self, problem: Problem, data: DataConfig, param: str) -> Prompt:
        encoded = self._of(problem, self._authors.tokenizer, data, param)
        junior_token_ids = self._junior_token_ids(problem, data, param)
        if not encoded.token_ids or not all(junior_token_ids.values()):
            raise bad_request(f"{param}: the prompt is empty; give at least one token", param)
        return replace(encoded, junior_token_ids=junior_token_ids)

    def _junior_token_ids(self, problem: Problem, data: DataConfig, param: str) -> dict[int, tuple[int, ...]]:
        others = self._authors.junior_tokenizers
        return {index: self._of(problem, other, data, param).token_ids for index, other in others.items()}

    def _of(self, problem: Problem, tokenizer: PreTrainedTokenizerBase, data: DataConfig, param: str) -> Prompt:
        try:
            return prompt(problem, tokenizer, data)
        except (ConfigError, ValueError) as error:
            raise bad_request(f"{param}: {error}", param) from error
