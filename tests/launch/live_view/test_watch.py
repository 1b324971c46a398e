"""Tests of the live view of a run."""

from __future__ import annotations

import io
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.live_view.colored import STYLES, visible
from launch.live_view.view import sparkline, view, watch
from launch.live_view.watched_run import WatchedRun
from launch.terminal import terminal_console
from tandem.records.run_record import read_run
from tests.support import ROOT
from tests.support.run_folders import make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "first", steps=6)


def shown(folder: Path, **options: Any) -> str:
    """Return the view of a run folder on 120 columns."""
    (watched := WatchedRun(folder)).refresh()
    console = terminal_console(file=io.StringIO(), width=120, **options)
    console.print(view(watched))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run launch/watch.py with arguments in this process."""

    def command(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["launch/watch.py", *map(str, arguments)])
        runpy.run_path("launch/watch.py", run_name="__main__")

    return command


def test_finished_run_is_printed_once(run: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(run, "--once")
    output = capsys.readouterr().out
    for part in ("first  step 6/6  finished", "0.500 → 0.700", "a step", "1.8 s", "generate", "67%", "tokens/s"):
        assert part in output
    assert "left" not in output


def test_last_transcript_has_two_colors(run: Path) -> None:
    output = shown(run, force_terminal=True, color_system="truecolor")
    last = [sample for sample in read_run(run).samples if sample["set"] == "training"][-1]
    assert STYLES["senior"].split()[0] == "underline" and "underline" not in STYLES["junior"], "distinguishable without colors"
    for turn in last["turns"]:
        style = "\x1b[4;38;5;33m" if turn["author"] == "senior" else "\x1b[38;5;208m"
        assert style + turn["text"].split("\n")[0] in output
    assert f"step 6, {last['problem']}" in output and last["verdict"] in output


def test_running_run_shows_remaining_time(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:3]) + '{"step": 3, "rew')
    output = shown(run)
    assert "step 2/6  updated 0 s ago" in output and "1.8 s, 0:00:07 left" in output


def test_run_without_steps_is_shown(run: Path) -> None:
    (run / "metrics.jsonl").write_text("")
    (run / "samples.jsonl").unlink()
    assert "step 0/6" in (output := shown(run)) and "waiting for the first evaluation" in output


def test_watch_follows_run_to_its_end(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.live_view.view.REFRESH_S", 0.02)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:2]))
    console = terminal_console(file=io.StringIO(), width=120, force_terminal=True)
    (thread := threading.Thread(target=watch, args=(WatchedRun(run), console))).start()
    for line in lines[2:]:
        time.sleep(0.1)
        assert thread.is_alive()
        with (run / "metrics.jsonl").open("a") as file:
            file.write(line)
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert isinstance(console.file, io.StringIO)
    output = console.file.getvalue()
    assert "step 1/6" in output and "step 6/6" in output and "finished" in output


def test_repeated_step_of_resumed_run_counts_once(run: Path) -> None:
    (watched := WatchedRun(run)).refresh()
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:4]))
    watched.refresh()
    assert [row["step"] for row in watched.rows] == list(range(7))


@pytest.mark.seconds
def test_ctrl_c_ends_view_silently(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:2]))
    process = subprocess.Popen(
        [sys.executable, "launch/watch.py", str(run)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "FORCE_COLOR": "1", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Children of a shell that runs the tests in the background ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout
    assert process.stdout.read(1), "the view is shown"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_folder_without_run_is_refused(
    tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(tmp_path)
    assert capsys.readouterr().err.startswith(f"watch.py: {tmp_path}: not a run folder")


@given(text=st.text() | st.sampled_from(["\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\u202eevil", "\r"]))
def test_escape_sequences_are_spelled_out(text: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in visible(text))
    assert visible("".join(filter(str.isprintable, text))) == "".join(filter(str.isprintable, text))


def test_transcript_is_shown_as_plain_text(run: Path) -> None:
    sample = json.loads((run / "samples.jsonl").read_text().splitlines()[-1])
    sample["turns"] = [{"author": "senior", "text": "[bold]x[/] \x1b]0;owned\x07"}]
    with (run / "samples.jsonl").open("a") as file:
        file.write(json.dumps(sample | {"set": "training"}) + "\n")
    assert "[bold]x[/] \\x1b]0;owned\\x07" in shown(run)


def test_shares_of_time_sum_to_one(run: Path) -> None:
    (watched := WatchedRun(run)).refresh()
    shares = watched.time_shares()
    assert list(shares) == ["generate", "update", "publish", "other", "judge"]
    assert sum(shares.values()) == pytest.approx(1)


def test_shares_of_time_include_evaluations(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows[-1]["time/evaluate_s"] = 10.8
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (watched := WatchedRun(run)).refresh()
    shares = watched.time_shares()
    assert shares["evaluate"] == pytest.approx(0.5) and sum(shares.values()) == pytest.approx(1)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100))
def test_sparkline_fits_width_and_spans_values(values: list[float]) -> None:
    line = sparkline(values)
    assert len(line) == min(40, len(values))
    assert line[0] == "▁" or min(values) != max(values)
    if len(values) <= 40 and min(values) < max(values):
        assert line[values.index(max(values))] == "█" and line[values.index(min(values))] == "▁"
