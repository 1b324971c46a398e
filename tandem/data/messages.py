"""Prompts stored as lists of messages, in the format of the Hugging Face chat templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tandem.data.fields import check_encodable, text_of
from tandem.rollout import Message

ROLES = ("system", "user", "assistant")


def read_messages(value: Sequence[object], field: str) -> tuple[Message, ...]:
    """Return the messages of a conversation that ends with the user's question.

    `value` is a list of objects with a `role` and a `content`, `field` the name of the field. Raises `ValueError` with the
    reason when it is malformed.
    """
    messages = tuple(_message(each, f"message {number} of field {field!r}") for number, each in enumerate(value, start=1))
    if not messages:
        raise ValueError(f"field {field!r} is an empty list")
    for number, (role, _) in enumerate(messages, start=1):
        if role == "system" and number > 1:
            raise ValueError(f"message {number} of field {field!r} is a system message; only the first can be one")
    if messages[-1][0] != "user":
        raise ValueError(f"field {field!r} ends with a message of role {messages[-1][0]!r}; a prompt ends with the user's")
    return (*messages[:-1], ("user", text_of(messages[-1][1], f"the last message of field {field!r}")))


def _message(value: object, what: str) -> Message:
    if not isinstance(value, Mapping) or not {"role", "content"} <= value.keys():
        raise ValueError(f"{what} is not an object with a role and a content: {value!r:.40}")
    role = value["role"]
    if role not in ROLES:
        raise ValueError(f"{what} has the role {role!r:.40}; choose {', '.join(ROLES[:-1])} or {ROLES[-1]}")
    content = value["content"]
    if not isinstance(content, str):
        raise ValueError(f"the content of {what} is not text: {content!r:.40}")
    check_encodable(content, what)
    return str(role), content
