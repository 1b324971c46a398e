"""A junior that is a black box: a model behind an OpenAI-compatible API, known by its text alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tandem.config.schema import Config

OPENAI = "openai:"
"""The prefix of a black box's name, `openai:URL,MODEL`."""


class BlackBox(NamedTuple):
    """A model behind an API."""

    url: str
    """of the API, usually with /v1 at its end"""
    model: str


def named_black_box(name: str) -> BlackBox | None:
    """Return the black box that the junior's `name` names; None for another junior.

    Raises `ValueError`, with what is missing, for an incomplete name.
    """
    if not name.startswith(OPENAI):
        return None
    url, _, model = name.removeprefix(OPENAI).partition(",")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ValueError("it names no http:// or https:// address")
    if not model.strip():
        raise ValueError("it names no model")
    return BlackBox(url, model)


def black_box(config: Config) -> BlackBox | None:
    """Return the black box that is the junior of `config`, whose checks have passed; None if there is none."""
    return named_black_box(config.junior[0])
