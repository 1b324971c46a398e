"""A run folder that is still written to, as the live view reads it."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean

from tandem.records.json_files import LogReader
from tandem.records.run_record import METRICS, SAMPLES, STOPPED_EARLY, check_run, is_metrics, is_sample, read_config
from tandem.records.transcript import Transcript

RECENT = 10
"""The number of last steps over which rates are averaged."""


class WatchedRun:
    """The metrics and the last transcript in a run folder. Raises `ConfigError` when `folder` is not a run folder."""

    def __init__(self, folder: Path) -> None:
        check_run(folder)
        self.name, self.steps = folder.resolve().name, int(read_config(folder)["steps"])
        self._by_step: dict[float, dict[str, float]] = {}
        self.sample: Transcript | None = None
        """the training rollout that was saved last; before the first one, a held-out rollout"""
        self._metrics_file = folder / METRICS
        self._metrics = LogReader(self._metrics_file, is_metrics)
        self._samples = LogReader(folder / SAMPLES, is_sample)

    def refresh(self) -> None:
        """Read the new lines."""
        self._by_step |= {row["step"]: row for row in self._metrics.new()}
        for sample in self._samples.new():
            if sample.get("set") != "held_out" or self.sample is None:
                self.sample = sample

    @property
    def rows(self) -> list[dict[str, float]]:
        """The metrics of all steps."""
        return [self._by_step[step] for step in sorted(self._by_step)]

    @property
    def step(self) -> int:
        """The last finished step."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    @property
    def finished(self) -> bool:
        """Whether the run's last step is finished, or it has stopped early."""
        return bool(self.rows) and (self.step >= self.steps or STOPPED_EARLY in self.rows[-1])

    @property
    def silent_s(self) -> float:
        """Seconds since the run last logged metrics."""
        return time.time() - self._metrics_file.stat().st_mtime

    def curve(self, key: str) -> list[float]:
        """Return a metric's values so far."""
        return [row[key] for row in self.rows if row.get(key) is not None]

    def recent(self, key: str) -> float | None:
        """Return a metric's mean over the last `RECENT` values; None if there are none."""
        values = self.curve(key)[-RECENT:]
        return fmean(values) if values else None

    def time_shares(self) -> dict[str, float]:
        """Return each phase's share of the last steps' time, evaluations included, the longest first.

        Time outside any phase is `other`.
        """
        timed = [row for row in self.rows[-RECENT:] if "time/step_s" in row]
        total = sum(row["time/step_s"] + row.get("time/evaluate_s", 0.0) for row in timed)
        if not total:
            return {}
        keys = {key for row in timed for key in row if key.startswith("time/") and key != "time/step_s"}
        spent = {key.removeprefix("time/").removesuffix("_s"): sum(row.get(key, 0.0) for row in timed) for key in keys}
        spent["other"] = max(0.0, total - sum(spent.values()))
        return {phase: seconds / total for phase, seconds in sorted(spent.items(), key=lambda item: -item[1])}
