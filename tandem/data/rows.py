"""The rows of a data set: whatever it is stored in, each is read by itself and describes one problem, or is malformed."""

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
    """A data set that stays where it is stored."""

    key: str
    """the setting that names it, such as `data.path=FILE`"""
    unit: str
    """what its rows are called"""

    def scan(self) -> Iterator[tuple[int, int, Any]]:
        """Every row once: its number (from 1), its place, and what is stored there."""
        ...

    def at(self, place: int) -> Any:
        """What is stored at a place."""
        ...

    def record(self, stored: Any) -> Mapping[str, object]:
        """The fields of a row; raises `ValueError` saying what is wrong with it."""
        ...


def problem_of(record: Mapping[str, object], data: DataConfig) -> Problem:
    """Return the problem that a row describes.

    The question is a text, or a list of messages whose last one asks it. The problem's id is a hash of the question, white
    space aside: the same question is the same problem, whatever it is stored in. What was said before it belongs to it; a
    system message does not.

    Raises `ValueError` saying what is wrong with the row (`UnreadableGold` if it is the answer alone), and `ConfigError` when
    the configuration contradicts it.
    """
    asked = lookup(record, data.question_field, "data.question_field")
    history: list[Message] = []
    if isinstance(asked, list):
        *history, (_, question) = read_messages(asked, data.question_field)
        _check_messages(history, data)
    else:
        question = text_of(asked, f"field {data.question_field!r}")
    answer = text_of(lookup(record, data.answer_field, "data.answer_field"), f"field {data.answer_field!r}", numbers=True)
    # What a verifier of the user's own makes of a gold is its own affair.
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
    said = [f"{role}: {content}" for role, content in history if role != "system"]
    return hash64(" ".join("\n".join([*said, question]).split()))


def question_id(digest: int) -> str:
    """The id of the problem whose question hashes to `digest`."""
    return f"question/{digest:016x}"


def hash64(text: str) -> int:
    """A hash of `text` that is the same in every process, of 64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
