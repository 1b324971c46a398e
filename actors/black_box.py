"""A junior behind an OpenAI-compatible API: it reads the text so far, writes on, and is known by its text alone.

Like a junior with another tokenizer (`tandem.translation`) it writes a word or a step at a time, which becomes tokens of the
senior, and the author is redrawn after each and nowhere else in its text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from openai import (
    APIConnectionError,
    APIStatusError,
    AsyncOpenAI,
    AsyncStream,
    AuthenticationError,
    NotFoundError,
    OpenAI,
    OpenAIError,
    PermissionDeniedError,
    omit,
)
from openai.types import Completion

from tandem.cogeneration import Tokens
from tandem.config.black_box import OPENAI, BlackBox
from tandem.config.rollout import SamplingConfig
from tandem.config.schema import ConfigError
from tandem.rollout import FROZEN_VERSION, JUNIOR, StopReason
from tandem.runtime.errors import RunError
from tandem.schedule import ENDS_STEP, Pen, Schedule
from tandem.tokenization.byte_vocabulary import ByteVocabulary

KEY = "TANDEM_JUNIOR_API_KEY"
"""The environment variable that holds the key of the API."""
TIMEOUT_S = 120.0
"""The longest wait for the next piece of a text."""
RETRIES = 4
"""How often a request is repeated when the server is busy or fails, after growing pauses, and how often in a text when a stream
breaks."""


def client_settings(box: BlackBox) -> dict[str, Any]:
    """Return the settings of a client of `box`, with the key in the environment."""
    return {"base_url": box.url, "api_key": os.environ.get(KEY) or "none", "timeout": TIMEOUT_S, "max_retries": RETRIES}


def check_answers(box: BlackBox) -> None:
    """Raise `ConfigError` unless the black box completes a text."""
    key = f"junior[0]={OPENAI}{box.url},{box.model}"
    try:
        with OpenAI(**client_settings(box)) as client:
            answer = client.completions.create(model=box.model, prompt="1", max_tokens=1)
    except APIConnectionError as error:
        raise ConfigError(f"{key}: no server answers ({error.__cause__ or error}); start it, or correct the address") from error
    except (AuthenticationError, PermissionDeniedError) as error:
        raise ConfigError(f"{key}: the server refuses the key ({_reason(error)}); set {KEY}") from error
    except NotFoundError as error:
        raise ConfigError(
            f"{key}: the server has no such model, or no {box.url.rstrip('/')}/completions ({_reason(error)}); name a model "
            "and an address that it has"
        ) from error
    except OpenAIError as error:
        raise ConfigError(f"{key}: the server completes no text ({_reason(error)}); name another") from error
    if not isinstance(answer, Completion) or not answer.choices:
        raise ConfigError(f"{key}: what answers there is no OpenAI-compatible API; correct the address")


def _reason(error: OpenAIError) -> str:
    body = getattr(error, "body", None)
    return str(body["message"] if isinstance(body, dict) and "message" in body else error)


def unit_pattern(schedule: Schedule, step_end: str) -> re.Pattern[str]:
    """Return a pattern for the first whole unit of a text: a step up to `step_end` under step schedules, else a word."""
    if schedule.boundary & ENDS_STEP:
        return re.compile(f".*?{step_end}", re.DOTALL)
    return re.compile(r".*?\S(?= )", re.DOTALL)


class BlackBoxSession:
    """The black box's view of one rollout, in the senior's tokens (a `tandem.cogeneration.Session`).

    It reads `prompt` in place of the first `prompt_tokens` tokens that it receives, and each turn is one streaming request,
    which is closed where the pen passes. `unit` matches what it writes at a time. `seed` determines its noise; None: the
    server's own. Log-probabilities are unknown; 0 stands in their place.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        box: BlackBox,
        vocabulary: ByteVocabulary,
        eos: int,
        *,
        prompt: str,
        prompt_tokens: int,
        unit: re.Pattern[str],
        sampling: SamplingConfig,
        seed: int | None,
    ) -> None:
        self._client, self._box, self._vocabulary, self._eos, self._unit = client, box, vocabulary, eos, unit
        self._sampling, self._seed = sampling, seed
        self._text, self._skipped_tokens = prompt.encode(), prompt_tokens
        self._stream: AsyncStream[Completion] | None = None
        self._ahead = ""
        """received, and not yet read"""
        self._ended: str | None = None
        """why the stream ended; None while it may continue"""
        self._failures = 0
        self.stop_reason: StopReason | None = None
        """why the black box last stopped writing; None before it did"""

    def begin_turn(self, new_tokens: Sequence[int], pen: Pen, budget: int) -> None:
        """Add the senior's `new_tokens` to the text (see `Session.begin_turn`)."""
        self._text += self._vocabulary.decode(new_tokens[self._skipped_tokens :])
        self._skipped_tokens, self._pen, self._budget = 0, pen, budget
        self._ahead, self._ended = "", None

    async def read(self) -> Tokens:
        """Return the next unit, whose last token alone has `breaks` set, or the rest of the text with its end.

        Raises `RunError` when the server fails, or writes nothing.
        """
        ids, whole = await self._next_unit()
        tokens = Tokens()
        tokens.extend(ids[: self._budget], [0.0] * len(ids[: self._budget]), FROZEN_VERSION)
        tokens.breaks = [False] * len(tokens)
        tokens.breaks[-1] = whole
        self._budget -= len(tokens)
        self._pen, _ = self._pen.over([0] * len(tokens), tokens.breaks)
        self.stop_reason = StopReason.EOS if tokens.ids[-1] == self._eos else StopReason.HANDOFF
        if not self._budget:
            self.stop_reason = StopReason.LENGTH
        if self._pen.author != JUNIOR or self.stop_reason != StopReason.HANDOFF:
            await self.close()
        return tokens

    async def close(self) -> None:
        """End the request, if one is open."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    async def _next_unit(self) -> tuple[list[int], bool]:
        """Return the next tokens, and whether they are a whole unit. If not, the text or the request ends with them."""
        while True:
            while (unit := self._unit.match(self._ahead)) is None and self._ended is None:
                await self._receive()
            text = unit[0] if unit else self._ahead
            self._ahead = self._ahead[len(text) :]
            ids = self._vocabulary.encode(text.encode(errors="replace"))
            self._text += self._vocabulary.decode(ids)
            if unit is None and self._ended != "length":
                return [*ids, self._eos], False
            if unit is None:  # the request counts the tokens of the black box, and there may be room for more
                self._ended = None
            if ids:
                return ids, unit is not None
            if unit is None:
                raise RunError(f"{self._name} wrote nothing")

    async def _receive(self) -> None:
        """Add the next piece of the text to `_ahead`. Raises `RunError` when the server fails repeatedly."""
        try:
            self._stream = self._stream or await self._request()
            if (piece := await anext(self._stream, None)) is None:
                raise OpenAIError("the stream ended before the text")
        except OpenAIError as error:
            await self.close()
            self._failures += 1
            # The client itself has repeated the request.
            if isinstance(error, APIStatusError) or self._failures > RETRIES:
                raise RunError(f"{self._name} failed: {_reason(error)}") from None
            self._ahead = ""
            return
        for choice in piece.choices[:1]:
            self._ahead += choice.text
            self._ended = choice.finish_reason
        if self._ended is not None:
            await self.close()

    async def _request(self) -> AsyncStream[Completion]:
        """Have the black box continue the text."""
        sampling = self._sampling
        return await self._client.completions.create(
            model=self._box.model,
            prompt=self._text.decode(errors="replace"),
            max_tokens=self._budget,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            # A turn must not repeat the noise of another.
            seed=omit if self._seed is None else (self._seed + self._pen.position) % 2**32,
            extra_body={"top_k": sampling.top_k} if sampling.top_k else None,
            stream=True,
        )

    @property
    def _name(self) -> str:
        return f"the junior {self._box.model} at {self._box.url}"
