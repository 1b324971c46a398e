"""The clock of a step, and the trace of the profiled step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tandem.config.schema import Config
from tandem.metrics import PhaseTimer
from tandem.runtime.trace import Profiled, Span, TraceRow, chrome_trace, write_trace


@contextmanager
def step_clock(
    config: Config, step: int, path: Path, profiled: Sequence[Profiled], print_line: Callable[[str], None]
) -> Iterator[PhaseTimer]:
    """Yield the clock of `step`.

    If this step is to be profiled, trace what `profiled` and the driver do in the block, write the trace to `path`, and print
    where it is with `print_line`.
    """
    if not config.profile or step != config.profile_step:
        yield PhaseTimer()
        return
    for component in profiled:
        component.start_profile()
    clock, start_s = PhaseTimer(), time.time()
    yield clock
    end_s = time.time()
    driver = TraceRow("driver", [Span(f"step {step}", "step", start_s, end_s), *clock.spans])
    rows = [driver, *(row for component in profiled for row in component.stop_profile())]
    write_trace(path, chrome_trace(rows, start_s, end_s))
    print_line(f"trace of step {step}: {path}; open it in ui.perfetto.dev")
