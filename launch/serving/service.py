"""Turn requests into tasks, admit them, and write their texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus

from actors.replica import ReplicaFailed, RolloutError
from actors.rollout_pool import RolloutPool
from launch.serving.errors import ApiError, bad_request
from launch.serving.metrics import Metrics
from launch.serving.prompts import PromptEncoder
from launch.serving.requests import TextRequest
from launch.serving.schedules import Schedules, served_models
from launch.serving.writing import Delta, TextTask, TextWriter
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.rollout import Prompt
from tandem.runtime.errors import plain_error
from tandem.runtime.restarts import in_short

RETRY_S = 1
"""The seconds after which a client may try again."""


class Service:
    """Writes the texts of requests with the replicas of `pool`, at most `serve.max_texts` at a time."""

    def __init__(self, config: Config, authors: Authors, pool: RolloutPool) -> None:
        self._config, self._context, self._rollout_pool = config, authors.context, pool
        self.prompts = PromptEncoder(authors)
        self.metrics = Metrics()
        self.pool = pool.streaming()
        self.models = served_models(config)
        self._schedules = Schedules(config)
        self._writer = TextWriter(self.pool, authors.tokenizer, authors.junior_weights, self.metrics)
        self._texts = 0
        """texts that are being written or wait"""

    def check_texts(self, texts: int) -> None:
        """Raise `ApiError` for a request for more texts than the server ever writes at a time."""
        if texts > (limit := self._config.serve.max_texts):
            raise bad_request(f"n: the request asks for {texts} texts; the server writes {limit} (serve.max_texts)", "n")

    def task(self, request: TextRequest, prompts: Sequence[Prompt], max_tokens: int | None) -> TextTask:
        """Return the task of `request`. Raises `ApiError` for settings or lengths that the server does not allow."""
        schedule = self._schedules.of(request.model, request.schedule)
        requested = {key: value for key in ("temperature", "top_p", "top_k") if (value := getattr(request, key)) is not None}
        room = self._context - max(len(prompt.token_ids) for prompt in prompts)
        if room < (max_tokens or 1):
            raise bad_request(
                f"max_tokens: the longest prompt leaves room for {max(room, 0)} of the {self._context} tokens of a text; ask "
                "for fewer, or start the server with greater data.max_prompt_tokens or rollout.sampling.max_tokens",
                "max_tokens",
                "context_length_exceeded",
            )
        default = self._config.rollout.sampling
        sampling = replace(default, **requested, max_tokens=max_tokens or min(default.max_tokens, room))
        return TextTask(request.model, prompts, request.n, schedule, sampling, request.seed, request.stops)

    async def write(self, task: TextTask) -> AsyncGenerator[Delta, None]:
        """Yield what is added to the texts of `task`. Raises `ApiError` while they are too many, or when an engine failed."""
        if self._texts + task.texts > (limit := self._config.serve.max_texts):
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self._texts} of {limit} texts are being written (serve.max_texts); try again",
                code="rate_limit_exceeded",
                retry_s=RETRY_S,
            )
        self._texts += task.texts
        try:
            async with aclosing(self._writer.write(task)) as deltas:
                async for delta in deltas:
                    yield delta
        except ReplicaFailed as error:
            message = "the engines that wrote this text failed and restart; try again"
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message, retry_s=RETRY_S) from error
        except RolloutError as error:
            raise ApiError(
                HTTPStatus.INTERNAL_SERVER_ERROR, f"the text could not be written: {in_short(plain_error(error))}"
            ) from error
        finally:
            self._texts -= task.texts

    async def metrics_text(self) -> bytes:
        """Return the metrics in Prometheus's format."""
        return self.metrics.text(self.pool.running, await asyncio.to_thread(self._rollout_pool.kv_use))
