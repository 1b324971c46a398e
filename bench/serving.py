"""Load launch/serve.py with streaming clients, some of which disconnect or send garbage.

    python -m bench.serving --json

docs/serving.md explains the figures.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from random import Random
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
from rich.console import Console

from bench.report import Figures, benchmark_parser, print_figures

CLIENTS, SECONDS = 64, 120.0
DISCONNECTS, GARBAGE = 0.15, 0.15
"""The shares of requests whose client disconnects, and of invalid requests."""
SAMPLE_S = 5.0
"""The time between two measurements of memory."""
IDLE_TIMEOUT_S = 30.0
WRITERS: tuple[Mapping[str, Any], ...] = (
    {"model": "senior"},
    {"model": "junior"},
    {"model": "team", "schedule": {"name": "word", "prob_senior": 0.25}},
    {"model": "team", "schedule": "step"},
)
QUESTIONS = [f"Mia has {pens} pens. eats 3, sells 3. How many?" for pens in (20, 34, 48, 62)]
REQUESTS = [
    {**writer, "messages": [{"role": "user", "content": question}], "seed": 10 * index + number, "max_tokens": 60}
    for number, writer in enumerate(WRITERS)
    for index, question in enumerate(QUESTIONS)
]
"""Requests with a seed: the answer depends on nothing else."""
BAD: tuple[tuple[bytes, HTTPStatus], ...] = (
    (b'{"model": "team", "messages": 7}', HTTPStatus.BAD_REQUEST),
    (b'{"model": "team", "messages": [{"role": "user", "content": ["x"]}]}', HTTPStatus.BAD_REQUEST),
    (b'{"model": "team", "messages": [{"role": "user", "content": "x"}], "max_tokens": -5}', HTTPStatus.BAD_REQUEST),
    (b'{"model": "team", "messages": [{"role": "user", "content": "x"}], "n": "three"}', HTTPStatus.BAD_REQUEST),
    (b'{"model": "team", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}', HTTPStatus.BAD_REQUEST),
    (b'{"model": "team", "messages": [{"role": "user", "content": "\xff\xfe"}]}', HTTPStatus.BAD_REQUEST),
    (b"\xff\xfe\x00{", HTTPStatus.BAD_REQUEST),
    (b'{"model": "team", ', HTTPStatus.BAD_REQUEST),
    (b"[" * 100_000, HTTPStatus.BAD_REQUEST),
    (b" " * 10_000_000, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
"""Bodies that the server refuses, with the status."""


@dataclass
class Answer:
    """A streamed text with its authors."""

    text: str = ""
    tokens: list[tuple[str, int]] = field(default_factory=list)
    """of `team`: each token with its author"""
    finish_reason: str | None = None

    def add(self, choice: Mapping[str, Any]) -> None:
        """Add what one event holds."""
        self.text += choice["delta"]["content"]
        self.tokens += [(run["author"], token) for run in choice.get("authors", ()) for token in run["token_ids"]]
        self.finish_reason = choice["finish_reason"] or self.finish_reason


@dataclass
class Load:
    """What the clients saw."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """MiB of all processes of the server"""


async def stream(client: httpx.AsyncClient, request: Mapping[str, Any], load: Load, events: int | None = None) -> Answer | None:
    """Return the answer to `request`; disconnect after `events` events if they are given, and return None.

    Raises `httpx.HTTPError` for a request that is refused or a stream that breaks off.
    """
    answer, start, number = Answer(), time.monotonic(), 0
    async with client.stream("POST", "/v1/chat/completions", json={**request, "stream": True}) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                load.whole_s.append(time.monotonic() - start)
                return answer
            if not line:
                continue
            if number == 0:
                load.first_s.append(time.monotonic() - start)
            elif number == events:
                return None
            number += 1
            answer.add(json.loads(line.removeprefix("data: "))["choices"][0])
    raise httpx.RemoteProtocolError("the stream ended without [DONE]")


async def _client(client: httpx.AsyncClient, random: Random, load: Load, expected: list[Answer | None], end: float) -> None:
    while time.monotonic() < end:
        kind = random.random()
        if kind < GARBAGE:
            await _send_garbage(client, random, load)
            continue
        index = random.randrange(len(REQUESTS))
        try:
            answer = await stream(client, REQUESTS[index], load, random.randrange(6) if kind < GARBAGE + DISCONNECTS else None)
        except httpx.HTTPError as error:
            load.counts["failed"] += 1
            load.problems.append(repr(error))
            continue
        if answer is None:
            load.counts["disconnected"] += 1
            continue
        load.counts["answered"] += 1
        if answer != expected[index]:
            load.counts["mixed_up"] += 1
            load.problems.append(f"{REQUESTS[index]}: {answer} instead of {expected[index]}")


async def _send_garbage(client: httpx.AsyncClient, random: Random, load: Load) -> None:
    content, status = random.choice(BAD)
    try:
        answer = await client.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})
    except httpx.HTTPError as error:
        load.counts["refused_wrongly"] += 1
        load.problems.append(f"{content[:80]!r}: {error!r}")
        return
    refused = answer.status_code == status and "message" in answer.json()["error"]
    load.counts["refused" if refused else "refused_wrongly"] += 1
    if not refused:
        load.problems.append(f"{content[:80]!r}: {answer.status_code} {answer.text[:200]}")


async def run_load(url: str, clients: int, seconds: float, process: psutil.Process | None = None) -> Load:
    """Return what `clients` saw in `seconds`, with the memory of `process` and its children, and wait until all is freed.

    The expected answer to a request is the one that it gets before the load, with no other request in progress.
    """
    load = Load()

    async def watch() -> None:
        while time.monotonic() < end and process:
            load.memory.append(_memory_mib(process))
            await asyncio.sleep(SAMPLE_S)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        expected = [await stream(client, request, Load()) for request in REQUESTS]
        end = time.monotonic() + seconds
        await asyncio.gather(watch(), *(_client(client, Random(i), load, expected, end) for i in range(clients)))
        await _until_idle(client)
    return load


def _memory_mib(process: psutil.Process) -> float:
    """Return the memory that only `process` and its children use."""
    used = 0
    for each in (process, *process.children(recursive=True)):
        try:
            used += each.memory_full_info().uss
        except psutil.Error:  # it has ended
            continue
    return used / 2**20


async def _until_idle(client: httpx.AsyncClient) -> None:
    """Wait until the server writes nothing and holds no KV block. Raises `TimeoutError`."""
    async with asyncio.timeout(IDLE_TIMEOUT_S):
        while True:
            text = (await client.get("/metrics")).text
            texts, blocks = (
                [float(value) for value in re.findall(rf"^tandem_{name}\{{.*\}} (\S+)$", text, re.MULTILINE)]
                for name in ("texts", "kv_cache_usage")
            )
            if blocks and not any(texts + blocks):
                return
            await asyncio.sleep(0.2)


def figures(load: Load, seconds: float) -> Figures:
    """Return the figures of a load."""
    results: Figures = {
        key: load.counts[key] for key in ("answered", "failed", "mixed_up", "disconnected", "refused", "refused_wrongly")
    }
    results |= {
        "answers_per_s": round(load.counts["answered"] / seconds, 1),
        "first_token_s": round(median(load.first_s), 3),
        "first_token_p95_s": round(quantiles(load.first_s, n=20)[-1], 3),
        "text_s": round(median(load.whole_s), 3),
    }
    if eighth := len(load.memory) // 8:
        middle, end = median(load.memory[3 * eighth : 5 * eighth]), median(load.memory[-eighth:])
        results |= {"memory_mib": round(end), "memory_growth_2nd_half": round(end / middle - 1, 4)}
    return results


@contextmanager
def server(overrides: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Start launch/serve.py, yield its address and its process, and end it."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "launch/serve.py", "serve.port=0", f"log.dir={folder}", *overrides]
        with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", cwd=Path(__file__).parent.parent) as process:
            assert process.stdout is not None
            try:
                match = next(filter(None, (re.search(r"at (http://\S+)/v1", line) for line in process.stdout)))
                yield match[1], psutil.Process(process.pid)
            finally:
                process.terminate()


def main() -> None:
    """Load a server and print the figures."""
    parser = benchmark_parser("serving", __doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="(default: %(default)s)")
    parser.add_argument("overrides", nargs="*", help="settings of the server")
    options = parser.parse_args()
    with server(options.overrides) as (url, process):
        load = asyncio.run(run_load(url, options.clients, options.seconds, process))
    for problem in load.problems[:10]:
        print(problem, file=sys.stderr)
    print_figures({"clients": options.clients, **figures(load, options.seconds)}, Console(), as_json=options.json)


if __name__ == "__main__":
    main()
