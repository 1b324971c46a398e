"""What the processes of a run did and when, as one Chrome trace: a row for each process, all on one clock.

Perfetto (ui.perfetto.dev) and chrome://tracing open it. The clock is the wall's: of hosts whose clocks differ, the rows do too.
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
    """Something that a process did, from `start_s` to `end_s` on the wall clock. Spans of one lane do not overlap."""

    name: str
    lane: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Row:
    """What one process did: spans, and what torch's profiler saw in it."""

    name: str
    spans: Sequence[Span] = ()
    profile: bytes = b""
    """what torch's profiler exported, compressed with gzip; empty: nothing"""


class Profiled(Protocol):
    """Something whose processes can be looked into."""

    def start_profile(self) -> None:
        """From here on they note what they do."""
        ...

    def stop_profile(self) -> Sequence[Row]:
        """What they have done since, one row a process."""
        ...


def chrome_trace(rows: Sequence[Row], start_s: float, end_s: float) -> dict[str, Any]:
    """The trace of what `rows` did between two times, which begins at 0; what goes beyond them is cut off."""
    events: list[Event] = []
    for pid, row in enumerate(rows, start=1):
        events += [
            {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": row.name}},
            {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}},
        ]
        lanes: dict[object, int] = {}
        own = [*_events_of_spans(row.spans), *_events_of_profile(row.profile)]
        for lane, event in own:
            if (within := _within(event, start_s * 1e6, end_s * 1e6)) is not None:
                events.append(within | {"pid": pid, "tid": lanes.setdefault(lane, len(lanes))})
        events += [
            {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": str(lane)}}
            for lane, tid in lanes.items()
        ]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def write_trace(path: Path, trace: dict[str, Any]) -> None:
    """Writes a trace as JSON, compressed with gzip."""
    with gzip.open(path, "wt", compresslevel=5, encoding="utf-8") as file:
        json.dump(trace, file)


def _events_of_spans(spans: Sequence[Span]) -> Iterator[tuple[str, Event]]:
    """Every span as an event on the wall clock, after its lane."""
    for span in spans:
        yield span.lane, {"ph": "X", "name": span.name, "ts": span.start_s * 1e6, "dur": (span.end_s - span.start_s) * 1e6}


def _events_of_profile(profile: bytes) -> Iterator[tuple[str, Event]]:
    """What torch's profiler saw, on the wall clock, each after its lane: a thread, or a stream of a GPU."""
    if not profile:
        return
    trace = json.loads(gzip.decompress(profile))
    base = trace.get("baseTimeNanoseconds", 0) / 1e3
    events = trace["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    for event in events:
        # The profiler also tells of itself.
        if event["ph"] in ("X", *FLOW) and event.get("cat") != "Trace":
            place = event["pid"], event["tid"]
            yield names.get(place, f"{place[0]}, {place[1]}"), event | {"ts": base + event["ts"]}


def _within(event: Event, start: float, end: float) -> Event | None:
    """The event as it is between two times, the first of them its clock's 0; None: it is outside of them."""
    first, last = max(event["ts"], start), min(event["ts"] + event.get("dur", 0), end)
    if first > last:
        return None
    return event | {"ts": first - start} | ({"dur": last - first} if "dur" in event else {})
