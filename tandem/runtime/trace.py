"""A Chrome trace of all processes of a run: one row for each process, on the wall clock.

Perfetto (ui.perfetto.dev) and chrome://tracing open it. Rows of different hosts are shifted by the difference of their clocks.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

Event = dict[str, Any]
"""An event of a Chrome trace; its `ts` and `dur` are microseconds."""
FLOW = ("s", "t", "f")
"""Phases of arrows from one event to another."""


class Span(NamedTuple):
    """An activity of a process from `start_s` to `end_s` on the wall clock. Spans of one lane do not overlap."""

    name: str
    lane: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class TraceRow:
    """The activities of one process: spans, and the profile of torch."""

    name: str
    spans: Sequence[Span] = ()
    profile: bytes = b""
    """export of torch's profiler, compressed with gzip; may be empty"""


class Profiled(Protocol):
    """A component whose processes can be profiled."""

    def start_profile(self) -> None:
        """Start profiling."""
        ...

    def stop_profile(self) -> Sequence[TraceRow]:
        """Stop profiling and return one row for each process."""
        ...


def chrome_trace(rows: Sequence[TraceRow], start_s: float, end_s: float) -> dict[str, Any]:
    """Return the trace of `rows` between two times. It begins at 0; events are cut at both ends."""
    events: list[Event] = []
    for pid, row in enumerate(rows, start=1):
        events += [
            {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": row.name}},
            {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}},
        ]
        lanes: dict[object, int] = {}
        row_events = [*_events_of_spans(row.spans), *_events_of_profile(row.profile)]
        for lane, event in row_events:
            if (within := _within(event, start_s * 1e6, end_s * 1e6)) is not None:
                events.append(within | {"pid": pid, "tid": lanes.setdefault(lane, len(lanes))})
        events += [
            {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": str(lane)}}
            for lane, tid in lanes.items()
        ]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def write_trace(path: Path, trace: dict[str, Any]) -> None:
    """Write a trace as JSON, compressed with gzip."""
    with gzip.open(path, "wt", compresslevel=5, encoding="utf-8") as file:
        json.dump(trace, file)


def _events_of_spans(spans: Sequence[Span]) -> Iterator[tuple[str, Event]]:
    """Yield the lane and the event of every span, on the wall clock."""
    for span in spans:
        yield span.lane, {"ph": "X", "name": span.name, "ts": span.start_s * 1e6, "dur": (span.end_s - span.start_s) * 1e6}


def _events_of_profile(profile: bytes) -> Iterator[tuple[str, Event]]:
    """Yield the lane (a thread or GPU stream) and the event of every operation in a torch profile, on the wall clock."""
    if not profile:
        return
    trace = json.loads(gzip.decompress(profile))
    base = trace.get("baseTimeNanoseconds", 0) / 1e3
    events = trace["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    for event in events:
        # Events of the category Trace are the profiler's own.
        if event["ph"] in ("X", *FLOW) and event.get("cat") != "Trace":
            thread = event["pid"], event["tid"]
            yield names.get(thread, f"{thread[0]}, {thread[1]}"), event | {"ts": base + event["ts"]}


def _within(event: Event, start: float, end: float) -> Event | None:
    """Return the part of the event between two times, relative to `start`; None if it is outside."""
    first, last = max(event["ts"], start), min(event["ts"] + event.get("dur", 0), end)
    if first > last:
        return None
    return event | {"ts": first - start} | ({"dur": last - first} if "dur" in event else {})
