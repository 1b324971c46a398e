"""The live view of a run, from its folder: step, rates, reward, who writes, where time goes, the last transcript in colours.

python launch/watch.py runs/NAME [--once]

Ends when the run's last step is done, or at Ctrl-C; the run does not notice.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from launch.entry import BAD_INPUT
from launch.storage.run_record import JsonLines, is_run, read_config
from launch.storage.transcript import Transcript
from tandem.config.schema import ConfigError

STYLES = {"senior": "underline dodger_blue1", "junior": "dark_orange"}
"""Told apart without colours too."""
GOOD, BAD = "green", "dark_orange"
RECENT = 10
"""Steps that rates are the mean of."""
BARS = "▁▂▃▄▅▆▇█"
BAR_WIDTH = 24
REFRESH_S = 1.0


class WatchedRun:
    """What a run folder has said so far. Raises `ConfigError` when `folder` is no run folder."""

    def __init__(self, folder: Path) -> None:
        if not is_run(folder):
            raise ConfigError(f"{folder}: no run folder, since it has no metrics.jsonl; name one, such as runs/NAME")
        self.name, self.steps = folder.resolve().name, int(read_config(folder)["steps"])
        self._by_step: dict[float, dict[str, float]] = {}
        self.sample: Transcript | None = None
        """the training rollout that was kept last"""
        self._metrics_file = folder / "metrics.jsonl"
        self._metrics, self._samples = JsonLines(self._metrics_file), JsonLines(folder / "samples.jsonl")

    def refresh(self) -> None:
        """Reads what is new."""
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
        """The last step that is done."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return bool(self.rows) and self.step >= self.steps

    @property
    def silent_s(self) -> float:
        """Seconds since the run last said something."""
        return time.time() - self._metrics_file.stat().st_mtime

    def curve(self, key: str) -> list[float]:
        """The values of a metric so far."""
        return [row[key] for row in self.rows if row.get(key) is not None]

    def recent(self, key: str) -> float | None:
        """A metric's mean over the last steps."""
        values = self.curve(key)[-RECENT:]
        return fmean(values) if values else None


def view(run: WatchedRun) -> RenderableType:
    """All that is shown."""
    figures = Table.grid(padding=(0, 2))
    figures.add_column(style="bold")
    for label, value in _figures(run):
        figures.add_row(label, value)
    parts: list[RenderableType] = [Rule(_title(run), align="left"), Padding(figures, (1, 0))]
    if shares := time_shares(run):
        parts += [Rule("where time goes", align="left", style="dim"), Padding(_bars(shares), (1, 0))]
    if run.sample:
        parts += [Rule(_sample_title(run.sample), align="left", style="dim"), Padding(coloured(run.sample), (1, 0))]
    return Group(*parts)


def _title(run: WatchedRun) -> Text:
    state = "finished" if run.finished else f"last news {run.silent_s:.0f} s ago"
    return Text(f"{visible(run.name)}  step {run.step}/{run.steps}  {state}", style="bold")


def _figures(run: WatchedRun) -> list[tuple[str, str]]:
    reward, solo = run.curve("reward/mean"), run.curve("solo/accuracy")
    found = []
    if reward:
        found.append(("reward", f"{run.recent('reward/mean'):.3f}   {sparkline(reward)}"))
    if solo:
        found.append(("solo accuracy", " → ".join(f"{value:.3f}" for value in solo)))
    if (share := run.recent("tandem/senior_token_fraction")) is not None:
        found.append(("senior's share", f"{share:.3f} of the tokens"))
    if (handoffs := run.recent("tandem/handoffs_per_rollout")) is not None:
        found.append(("handoffs", f"{handoffs:.1f} a rollout"))
    if (rate := run.recent("rollout/tokens_per_s")) is not None:
        found.append(("speed", f"{rate:,.0f} tokens/s"))
    if (seconds := run.recent("time/step_s")) is not None:
        left = timedelta(seconds=round(seconds * (run.steps - run.step)))
        found.append(("a step", f"{seconds:.1f} s" + ("" if run.finished else f", {left} left")))
    return found or [("", "waiting for the first evaluation")]


def time_shares(run: WatchedRun) -> dict[str, float]:
    """The shares of the last steps' time, and of the evaluations between them, that each phase took, the longest first; what is
    in no phase is `other`."""
    timed = [row for row in run.rows[-RECENT:] if "time/step_s" in row]
    whole = sum(row["time/step_s"] + row.get("time/evaluate_s", 0.0) for row in timed)
    if not whole:
        return {}
    keys = {key for row in timed for key in row if key.startswith("time/") and key != "time/step_s"}
    spent = {key.removeprefix("time/").removesuffix("_s"): sum(row.get(key, 0.0) for row in timed) for key in keys}
    spent["other"] = max(0.0, whole - sum(spent.values()))
    return {phase: seconds / whole for phase, seconds in sorted(spent.items(), key=lambda item: -item[1])}


def _bars(shares: dict[str, float]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for phase, share in shares.items():
        table.add_row(phase, f"{share:.0%}", Text("█" * round(BAR_WIDTH * share), style="dodger_blue1"))
    return table


def _sample_title(sample: Transcript) -> Text:
    title = Text(f"last transcript: step {sample['step']}, {visible(sample['problem'])}  ")
    title.append(sample["verdict"], GOOD if sample["verdict"] == "correct" else BAD)
    title.append(f"  reward {sample['reward']:g}")
    if "advantage" in sample:
        title.append(f"  advantage {sample['advantage']:+.2f}")
    return title


def coloured(sample: Transcript) -> Text:
    """A rollout for a terminal: its question, and each author's words in a style of their own."""
    text = Text(visible(sample["question"]) + "\n", style="dim")
    whole = Text.assemble(text, ("senior", STYLES["senior"]), " ", ("junior", STYLES["junior"]), "\n\n")
    for turn in sample["turns"]:
        whole.append(visible(turn["text"]), STYLES[turn["author"]])
    return whole


def visible(text: str) -> str:
    """`text` with what could command a terminal spelt out: models may write escape sequences."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The course of `values` in at most `width` characters, each the mean of those that it stands for."""
    count = min(width, len(values))
    edges = [len(values) * i // count for i in range(count + 1)]
    means = [fmean(values[a:b]) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    return "".join(BARS[round((value - low) / (high - low or 1) * (len(BARS) - 1))] for value in means)


def watch(run: WatchedRun, console: Console) -> None:
    """Shows the run until it is finished."""
    run.refresh()
    with Live(view(run), console=console, auto_refresh=False) as live:
        while not run.finished:
            time.sleep(REFRESH_S)
            run.refresh()
            live.update(view(run), refresh=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Watches the run that the command line names; exits with 2 and a message when there is none."""
    parser = argparse.ArgumentParser(prog="launch/watch.py", description="The live view of a run, from its folder.")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, runs/NAME")
    parser.add_argument("--once", action="store_true", help="print what there is, and end")
    given = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        run = WatchedRun(given.run)
        if given.once:
            run.refresh()
            console.print(view(run))
        else:
            watch(run, console)
    except ConfigError as error:
        print(f"watch.py: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        pass  # the way to leave


if __name__ == "__main__":
    main()
