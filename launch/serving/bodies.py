"""The bodies of responses: OpenAI's objects, with the authors of the text."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from launch.serving.schedules import TEAM
from launch.serving.writing import Delta, TextTask, TextToken
from tandem.rollout import AUTHOR_NAMES

Json = dict[str, Any]


class Body:
    """Builds the body of one response, or the events of a stream, of texts for `task`."""

    object, chunk_object, prefix = "text_completion", "text_completion", "cmpl"

    def __init__(self, task: TextTask, *, logprobs: bool) -> None:
        self._task, self._logprobs = task, logprobs
        self._head = {"id": f"{self.prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": task.model}
        self._begun: dict[int, int] = {}
        """the length of each text that has begun, in characters"""
        self._tokens = 0

    def whole(self, deltas: Sequence[Delta]) -> Json:
        """Return the body for a request whose texts are all written."""
        texts: dict[int, Delta] = {}
        for delta in deltas:
            before = texts.get(delta.choice, Delta(delta.choice, "", []))
            texts[delta.choice] = delta._replace(text=before.text + delta.text, tokens=before.tokens + delta.tokens)
        choices = [self._choice(texts[index], self._whole_text(texts[index])) for index in sorted(texts)]
        return {**self._head, "object": self.object, "choices": choices, "usage": self._usage()}

    def event(self, delta: Delta) -> str:
        """Return the event of a stream that adds `delta`."""
        return _event({**self._head, "object": self.chunk_object, "choices": [self._choice(delta, self._added_text(delta))]})

    def usage_event(self) -> str:
        """Return the event with the numbers of tokens so far."""
        return _event({**self._head, "object": self.chunk_object, "choices": [], "usage": self._usage()})

    def _choice(self, delta: Delta, text: Json) -> Json:
        self._tokens += len(delta.tokens)
        choice = {"index": delta.choice, **text, "finish_reason": delta.finish_reason, "seed": delta.seed}
        choice["logprobs"] = self._logprobs_of(delta) if self._logprobs else None
        if self._task.model == TEAM:
            choice["authors"] = _runs(delta.tokens)
        self._begun[delta.choice] = self._begun.get(delta.choice, 0) + len(delta.text)
        return choice

    def _whole_text(self, delta: Delta) -> Json:
        return {"text": delta.text}

    def _added_text(self, delta: Delta) -> Json:
        return {"text": delta.text}

    def _logprobs_of(self, delta: Delta) -> Json:
        offsets, at = [], self._begun.get(delta.choice, 0)
        for token in delta.tokens:
            offsets.append(at)
            at += len(token.text)
        return {
            "tokens": [token.text for token in delta.tokens],
            "token_logprobs": [token.logprob for token in delta.tokens],
            "text_offset": offsets,
            "top_logprobs": None,
        }

    def _usage(self) -> Json:
        prompt_tokens = sum(len(prompt.token_ids) for prompt in self._task.prompts)
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self._tokens,
            "total_tokens": prompt_tokens + self._tokens,
        }


class ChatBody(Body):
    """The same for a conversation."""

    object, chunk_object, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def _whole_text(self, delta: Delta) -> Json:
        return {"message": {"role": "assistant", "content": delta.text}}

    def _added_text(self, delta: Delta) -> Json:
        role = {} if delta.choice in self._begun else {"role": "assistant"}
        return {"delta": {**role, "content": delta.text}}

    def _logprobs_of(self, delta: Delta) -> Json:
        return {
            "content": [
                {
                    "token": token.text,
                    "logprob": token.logprob,
                    "bytes": list(token.text.encode("utf-8", "replace")),
                    "top_logprobs": [],
                }
                for token in delta.tokens
            ]
        }


DONE = "data: [DONE]\n\n"
"""The last event of a stream."""


def _event(body: Json) -> str:
    return f"data: {json.dumps(body, separators=(',', ':'))}\n\n"


def error_event(body: Json) -> str:
    """Return the event of a stream that fails."""
    return _event(body)


def _runs(tokens: Iterable[TextToken]) -> list[Json]:
    """Return the runs of tokens by one author."""
    runs = groupby(tokens, key=lambda token: token.author)
    return [{"author": AUTHOR_NAMES[author], "token_ids": [token.id for token in run]} for author, run in runs]
