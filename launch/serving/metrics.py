"""The metrics of the server in Prometheus's format."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from actors.admission import KVUse

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters of requests, texts and tokens, and the state of the engines when they are read."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("tandem_requests", "Requests by path and status", ["path", "status"], registry=registry)
        self._texts = Gauge("tandem_texts", "Texts that are being written or wait, by model", ["model"], registry=registry)
        self._tokens = Counter("tandem_tokens", "Tokens by model and author", ["model", "author"], registry=registry)
        self._first = Histogram(
            "tandem_first_token_seconds", "Time to a text's first tokens", ["model"], buckets=_SECONDS, registry=registry
        )
        self._whole = Histogram("tandem_text_seconds", "Time of a text", ["model"], buckets=_SECONDS, registry=registry)
        self._replicas = Gauge("tandem_replicas_running", "Replicas that are running", registry=registry)
        self._kv_cache = Gauge(
            "tandem_kv_cache_usage",
            "Largest share of an engine's KV cache in use since the last read",
            ["engine"],
            registry=registry,
        )
        self._preemptions = Counter(
            "tandem_preemptions", "How often a text lost its KV blocks to another", ["engine"], registry=registry
        )

    @contextmanager
    def writing(self, model: str) -> Iterator[WrittenText]:
        """Count a text that is written in the block."""
        start = time.monotonic()
        with self._texts.labels(model).track_inprogress():
            yield WrittenText(
                self._first.labels(model).observe, lambda author, count: self._tokens.labels(model, author).inc(count)
            )
        self._whole.labels(model).observe(time.monotonic() - start)

    def text(self, replicas: int, kv_use: Mapping[str, KVUse]) -> bytes:
        """Return all metrics, with the state of the engines."""
        self._replicas.set(replicas)
        for engine, use in kv_use.items():
            self._kv_cache.labels(engine).set(use.peak)
            self._preemptions.labels(engine).inc(use.preemptions)
        return generate_latest(self._registry)


class WrittenText:
    """Observes one text: `first_token` its delay in seconds, `tokens` their number by author."""

    def __init__(self, first_token: Callable[[float], None], tokens: Callable[[str, int], None]) -> None:
        self.first_token, self.tokens = first_token, tokens
