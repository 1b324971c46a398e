"""Tests of the terminal of a run."""

from __future__ import annotations

import re
import time

import pytest

from launch.run.console import PLAIN_EVERY, ROWS, TrainingConsole


def row(step: int, **more: float) -> dict[str, float]:
    return {"step": step, "reward/mean": 0.25, "time/update_s": 0.5, "time/step_s": 1.25, "unlisted/key": 7.0, **more}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have rich write to a terminal of 160 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have rich write to a file, as in a CI job."""
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)


def visible(output: str) -> str:
    """Return `output` without a terminal's escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)


def kept(output: str) -> str:
    """Return what remains on the screen after the live view is erased."""
    return visible(output.rpartition("\x1b[2K")[2])


def shown(capsys: pytest.CaptureFixture[str], text: str) -> bool:
    """Whether the live view, drawn four times a second, shows `text` within a minute."""
    deadline, seen = time.monotonic() + 60, ""
    while text not in seen and time.monotonic() < deadline:
        time.sleep(0.05)
        seen += visible(capsys.readouterr().out)
    return text in seen


@pytest.mark.usefixtures("no_terminal")
def test_short_run_prints_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingConsole(steps=2) as console:
        console.row({"step": 0, "solo/accuracy": 0.5})
        console.row(row(1))
        console.row(row(2, **{"solo/accuracy": 0.75, "solo/problems": 4.0}))
    assert capsys.readouterr().out.splitlines() == [
        "[0/2] solo acc. 0.500",
        "[1/2] reward 0.250  learn 0.5  s/step 1.2  left 0:00:00",
        "[2/2] reward 0.250  solo acc. 0.750 [0.30, 0.95]  learn 0.5  s/step 1.2",
    ]


@pytest.mark.usefixtures("no_terminal")
def test_long_run_prints_some_steps_and_every_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingConsole(steps=60) as console:
        for step in range(1, 13):
            console.row(row(step, **({"solo/accuracy": 0.5} if step == 7 else {})))
    shown = [int(line.split("/")[0][1:]) for line in capsys.readouterr().out.splitlines()]
    assert shown == sorted({PLAIN_EVERY, 2 * PLAIN_EVERY, 7})


@pytest.mark.usefixtures("no_terminal")
def test_messages_and_progress_need_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = TrainingConsole(steps=1)
    console.print("run folder " + "x" * 200)
    with console, console.progress("writing", total=2) as done:
        done(None)
        done(None)
    assert capsys.readouterr().out == "run folder " + "x" * 200 + "\n", "paths are not wrapped, and no live view is drawn"


@pytest.mark.usefixtures("terminal")
def test_terminal_shows_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingConsole(steps=60) as console:
        console.row(row(2))
        assert shown(capsys, "2/60")
        with console.progress("writing", total=4) as done:
            done(None)
            assert shown(capsys, "1/4")
        console.print("a message")
        assert shown(capsys, "a message")


@pytest.mark.usefixtures("terminal")
def test_terminal_keeps_table_at_end(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingConsole(steps=60) as console:
        console.row(row(1))
        console.row(row(2, **{"solo/accuracy": 0.75}))
    table = [line for line in kept(capsys.readouterr().out).splitlines() if line[0] in "┃│"]
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in table]
    first, second = (dict(zip(cells[0], line, strict=True)) for line in cells[1:])
    assert {"step", "reward", "solo acc.", "senior share", "handoffs", "tokens/s", "write", "learn", "left"} <= set(first)
    assert (first["step"], first["reward"], first["solo acc."], first["tokens/s"]) == ("1", "0.250", "", "")
    assert (second["step"], second["solo acc."], second["learn"]) == ("2", "0.750", "0.5")


@pytest.mark.usefixtures("terminal")
def test_table_keeps_last_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingConsole(steps=60) as console:
        for step in range(1, ROWS + 4):
            console.row(row(step))
    steps = re.findall(r"^│ +(\d+) │", kept(capsys.readouterr().out), re.MULTILINE)
    assert [int(step) for step in steps] == list(range(4, ROWS + 4))


@pytest.mark.usefixtures("terminal")
def test_interruption_keeps_table(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        with TrainingConsole(steps=60) as console:
            console.row(row(7))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert re.search(r"^│ +7 │", kept(capsys.readouterr().out), re.MULTILINE)


def test_time_left_is_estimated_from_first_step_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("launch.run.console.time.monotonic", iter([100.0, 110.0, 120.0]).__next__)
    console = TrainingConsole(steps=6)
    for step in (2, 3, 4):
        console.row({"step": step})
    assert [line.partition("left ")[2] for line in capsys.readouterr().out.splitlines()] == ["", "0:00:30", "0:00:20"]


SAMPLE = {
    "step": 3,
    "problem": "p1",
    "question": "7 + 5?",
    "verdict": "correct",
    "reward": 1.0,
    "turns": [{"author": "senior", "text": "It is"}, {"author": "junior", "text": " 12.\x1b[2J"}],
}


@pytest.mark.usefixtures("no_terminal")
def test_transcript_without_terminal_has_braces_around_junior(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingConsole(steps=60) as console:
        console.transcripts([SAMPLE])
    assert "step 3, p1  correct  reward 1\n7 + 5?\nIt is{ 12.\\x1b[2J}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("terminal")
def test_transcript_in_terminal_has_style_for_each_author(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingConsole(steps=60) as console:
        console.transcripts([SAMPLE])
    out = capsys.readouterr().out
    assert re.search(r"\x1b\[4;[0-9;]*mIt is\x1b\[0m", out) and "{" not in visible(out)


@pytest.mark.usefixtures("terminal")
def test_error_is_not_followed_by_table(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with TrainingConsole(steps=60) as console:
            console.row(row(1))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert "┏" not in kept(capsys.readouterr().out)
