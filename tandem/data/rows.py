"""The rows of a dataset, in any storage: each describes one problem or is malformed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.fields import lookup, text_of
from tandem.data.messages import read_messages
from tandem.rollout import Message, Problem
from tandem.verify.golds import gold_answer


class Rows(Protocol):
    """A dataset that is read row by row from its storage."""

    key: str
    """the setting that names the dataset, such as `data.path=FILE`"""
    unit: str
    """the word for a row in messages: `row` or `line`"""

    def fingerprint(self) -> str:
        """Return a hash of the dataset's content."""
        ...

    def scan(self) -> Iterator[tuple[int, int, Any]]:
        """Yield number (from 1), place and stored content of every row."""
        ...

    def at(self, place: int) -> Any:
        """Return the stored content at `place`."""
        ...

    def record(self, stored: Any) -> Mapping[str, object]:
        """Return the fields of a row from its stored content. Raises `ValueError` with the reason when it is malformed."""
        ...


def problem_of(record: Mapping[str, object], data: DataConfig) -> Problem:
    """Return the problem that a row describes.

    The question is a text, or a list of messages that ends with the question. The problem's id is a hash of the question and of
    the messages before it, without system messages and regardless of white space: the same question is the same problem in any
    storage.

    Raises `ValueError` with the reason when the row is malformed, `UnreadableGold` when only its gold cannot be read, and
    `ConfigError` when the row contradicts the configuration.
    """
    stored_question = lookup(record, data.question_field, "data.question_field")
    history: list[Message] = []
    if isinstance(stored_question, list):
        *history, (_, question) = read_messages(stored_question, data.question_field)
        _check_messages(history, data)
    else:
        question = text_of(stored_question, f"field {data.question_field!r}")
    answer = text_of(lookup(record, data.answer_field, "data.answer_field"), f"field {data.answer_field!r}", numbers=True)
    # A verifier of the user interprets golds itself.
    answer = answer if data.verifier else gold_answer(answer, data.answer_pattern)
    return Problem(question_id(_digest(history, question)), question, answer, tuple(history))


def _check_messages(history: Sequence[Message], data: DataConfig) -> None:
    """Raise `ConfigError` when prompts that are lists of messages contradict the configuration."""
    if not data.chat:
        raise ConfigError(
            f"data.chat=false: field {data.question_field!r} holds messages, which take a chat template; set data.chat=true, "
            "or name a field of text with data.question_field"
        )
    if data.system and history and history[0][0] == "system":
        raise ConfigError(
            f"data.system={data.system!r:.40}: the messages of field {data.question_field!r} have a system message of their "
            "own; leave data.system out"
        )


def _digest(history: Sequence[Message], question: str) -> int:
    earlier = [f"{role}: {content}" for role, content in history if role != "system"]
    return hash64(" ".join("\n".join([*earlier, question]).split()))


def question_id(digest: int) -> str:
    """Return the id of the problem whose question has the hash `digest`."""
    return f"question/{digest:016x}"


def hash64(text: str) -> int:
    """Return a 64-bit hash of `text` that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
