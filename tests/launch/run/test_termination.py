"""Tests of the end of a run after a signal or on a full disk: checkpoint, message and exit code."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from omegaconf import OmegaConf

from launch.cluster.local_cluster import own_signals
from launch.entry import Terminated, exit_codes, terminate
from launch.run.checkpointing import Checkpointer
from launch.run.console import TrainingConsole
from launch.run.stopping import stop_early
from launch.run.termination import TerminationHandler
from launch.run.training_run import TrainingRun
from launch.storage.checkpoints import DriverState
from launch.storage.disk import UnwritableError
from launch.storage.resume import find_resumption
from launch.storage.run_folder import RunFolder
from tandem.config.schema import Config, ConfigError
from tandem.records.run_record import STOPPED_EARLY
from tandem.runtime.disk import require_room
from tandem.runtime.exit_status import BAD_INPUT, INTERRUPTED, TERMINATED, UNWRITABLE
from tandem.staleness import StreamPosition
from tests.support.settings import settings


@pytest.fixture(autouse=True)
def default_handler(handler_of_sigterm: None) -> None:
    """Install an entry point's handler of SIGTERM for the test."""
    signal.signal(signal.SIGTERM, terminate)


def ended(main: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code of an entry point, and its standard error."""
    with pytest.raises(SystemExit) as exit_, exit_codes():
        main()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("x=1: give 2"), BAD_INPUT, ": x=1: give 2\n"),
        (UnwritableError("no room"), UNWRITABLE, ": no room\n"),
        (OSError(28, "No space left on device", "/x"), UNWRITABLE, "No space left on device: '/x': the disk is full; free"),
        (KeyboardInterrupt(), INTERRUPTED, "Interrupted\n"),
        (KeyboardInterrupt("after step 3"), INTERRUPTED, "Interrupted after step 3\n"),
        (Terminated(), TERMINATED, "Interrupted\n"),
    ],
)
def test_each_end_has_exit_code_and_message(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    assert (found := ended(main, capsys))[0] == code and said in found[1]


def test_sigterm_ends_entry_point_after_library_replaced_handler(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        with own_signals():
            signal.signal(signal.SIGTERM, lambda number, frame: os._exit(9))
        os.kill(os.getpid(), signal.SIGTERM)

    assert ended(main, capsys) == (TERMINATED, "Interrupted\n")


# Signals


class Loop:
    """A run without engines that takes steps and saves checkpoints."""

    def __init__(self, config: Config, save: Callable[[Path], None] = lambda folder: (folder / "weights").touch()) -> None:
        self.folder = RunFolder(config, find_resumption(config))
        self.termination = TerminationHandler(config.checkpoint.on_signal_wait_s, print)
        console = TrainingConsole(config.steps)
        self.source = SimpleNamespace(stream_position=StreamPosition(0))
        learner: Any = SimpleNamespace(save=save, checkpointed=lambda folder: None)
        self.training_run = TrainingRun(
            **dict.fromkeys(("authors", "pool", "judge", "restarts", "canary")),  # type: ignore[arg-type]
            config=config,
            folder=self.folder,
            console=console,
            group_source=self.source,
            watchdog=SimpleNamespace(alive=lambda: None),  # type: ignore[arg-type]
            learner=learner,
            held_out=[],
            resumed_step=0,
            checkpointer=Checkpointer(config, self.folder, learner, console.print),
            termination=self.termination,
        )

    def run(self, at: str, action: Callable[[], None]) -> None:
        """Take three steps; call `action` in a phase of the third: generate, update, evaluate or log."""
        run = self.training_run
        with self.folder, run.handle_termination():
            for step in (1, 2, 3):
                self.source.stream_position = StreamPosition(16 * step)
                for phase in ("generate", "update", "evaluate", "log"):
                    if phase == "update":
                        self.termination.defer()
                    if phase == "evaluate":
                        run.finish_update(step, {"step": step})
                    if (step, phase) == (3, at):
                        action()
                run.log({"step": step, "solo/accuracy": 0.5})
                run.save_if_due(step)


def test_early_end_saves_checkpoint_and_marks_last_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = Loop(run_settings(tmp_path, stop={"metric": "solo/accuracy", "patience": 1}))
    with loop.folder:
        for step, accuracy in enumerate((0.5, 0.75, 0.75)):
            assert not stop_early(loop.training_run, step - 1)
            loop.training_run.log({"step": step, "solo/accuracy": accuracy})
        assert not loop.folder.checkpoints.complete()
        assert stop_early(loop.training_run, 2)
        assert stop_early(loop.training_run, 2), "a resumed run ends too"
    (checkpoint,) = loop.folder.checkpoints.complete()
    assert (checkpoint.step, loop.folder.rows[-1]["step"], loop.folder.rows[-1][STOPPED_EARLY]) == (2, 2, 1.0)
    assert "Stopped after step 2: solo/accuracy has not improved on 0.75 (step 1)" in capsys.readouterr().out


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def lasting(seconds: float) -> None:
    """Wait for `seconds`, or until a signal."""
    threading.Event().wait(seconds)


def run_settings(folder: Path, **changes: Any) -> Config:
    """Return settings of five steps with one checkpoint, after the last step."""
    return OmegaConf.to_object(OmegaConf.merge(settings(folder), {"steps": 5}, changes))  # type: ignore[return-value]


@pytest.mark.parametrize(("at", "step"), [("generate", 2), ("update", 3), ("evaluate", 3), ("log", 3)])
def test_sigterm_saves_last_finished_step(
    tmp_path: Path, at: str, step: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["launch/train.py", "data.template=Q: {question}", f"log.dir={tmp_path}", "name=run"])
    loop = Loop(run_settings(tmp_path))
    code, said = ended(lambda: loop.run(at, send(signal.SIGTERM)), capsys)
    assert code == TERMINATED
    command = shlex.join(
        ["python", "launch/train.py", "data.template=Q: {question}", f"log.dir={tmp_path}", "name=run", "resume=auto"]
    )
    assert said == f"Interrupted after step {step}; checkpoint {step} is saved. Continue: {command}\n"
    (checkpoint,) = loop.folder.checkpoints.complete()
    assert checkpoint.state() == DriverState(step, StreamPosition(16 * step, []))
    assert [row["step"] for row in loop.folder.rows] == list(range(1, step + 1))
    assert ("solo/accuracy" in loop.folder.rows[-1]) == (at == "generate"), "an interrupted evaluation is repeated"
    again = run_settings(tmp_path, resume="auto")
    assert find_resumption(again).checkpoint == checkpoint


def test_sigterm_while_ray_waits_saves(ray_session: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @ray.remote(num_cpus=0, max_retries=0)
    def kill(pid: int) -> None:
        time.sleep(0.5)  # the driver waits by then
        os.kill(pid, signal.SIGTERM)
        time.sleep(60)

    task: list[Any] = []

    def wait() -> None:
        task.append(kill.remote(os.getpid()))
        ray.get(task[-1], timeout=30)

    loop = Loop(run_settings(tmp_path))
    code, said = ended(lambda: loop.run("generate", wait), capsys)
    ray.cancel(task[0], force=True)
    assert code == TERMINATED and "after step 2; checkpoint 2 is saved" in said
    assert ended(wait, capsys)[0] == TERMINATED
    ray.cancel(task[1], force=True)


def test_lost_interrupt_ends_run_after_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def lose_interrupt() -> None:
        with suppress(KeyboardInterrupt):
            send(signal.SIGINT)()

    loop = Loop(run_settings(tmp_path))
    code, said = ended(lambda: loop.run("generate", lose_interrupt), capsys)
    assert code == INTERRUPTED and said.startswith("Interrupted after step ")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_failing_checkpoint_does_not_hide_signal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(folder: Path) -> None:
        raise RuntimeError("rank 1 died")

    with pytest.raises(SystemExit, match=str(TERMINATED)), exit_codes():
        Loop(run_settings(tmp_path), fail).run("generate", send(signal.SIGTERM))
    assert "WARNING: no checkpoint could be written: rank 1 died" in capsys.readouterr().out


def test_sigterm_does_not_write_existing_checkpoint_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved: list[Path] = []
    loop = Loop(run_settings(tmp_path, checkpoint={"save_every": 2}), saved.append)
    assert ended(lambda: loop.run("generate", send(signal.SIGTERM)), capsys)[0] == TERMINATED
    assert len(saved) == 1


@pytest.mark.parametrize("checkpoint", [{"on_signal": False}, {"save_every": 0}])
def test_sigterm_saves_nothing_if_configured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], checkpoint: dict[str, Any]
) -> None:
    loop = Loop(run_settings(tmp_path, checkpoint=checkpoint))
    code, said = ended(lambda: loop.run("generate", send(signal.SIGTERM)), capsys)
    assert code == TERMINATED and not loop.folder.checkpoints.complete()
    assert "Interrupted after step 2; there is no checkpoint yet. Start again: the same command" in said


def test_sigterm_waits_no_longer_than_configured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = {"on_signal_wait_s": 0.3}

    def stuck(folder: Path) -> None:
        lasting(30)

    loop = Loop(run_settings(tmp_path / "saving", checkpoint=short), stuck)
    began = time.monotonic()
    with pytest.raises(SystemExit, match=str(TERMINATED)), exit_codes():
        loop.run("generate", send(signal.SIGTERM))
    said = capsys.readouterr()
    assert "no checkpoint could be written within checkpoint.on_signal_wait_s=0.3" in said.out
    assert "there is no checkpoint yet" in said.err
    assert not list(loop.folder.checkpoints.path.glob("*")), "no partial checkpoint is left"

    def update() -> None:
        send(signal.SIGTERM)()
        lasting(30)

    loop = Loop(run_settings(tmp_path / "learning", checkpoint=short))
    assert ended(lambda: loop.run("update", update), capsys)[0] == TERMINATED
    assert not loop.folder.checkpoints.complete() and time.monotonic() - began < 20


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_during_checkpoint_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second: signal.Signals
) -> None:
    with pytest.raises(SystemExit, match=str(TERMINATED)), exit_codes():
        Loop(run_settings(tmp_path), lambda folder: send(second)()).run("generate", send(signal.SIGTERM))
    said = capsys.readouterr().out
    assert "WARNING: no checkpoint could be written: a second signal came" in said and "on_signal_wait_s" not in said


def test_ctrl_c_ends_at_once_and_prints_how_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = Loop(run_settings(tmp_path, checkpoint={"save_every": 2}))

    def press() -> None:
        raise KeyboardInterrupt

    code, said = ended(lambda: loop.run("update", press), capsys)
    assert code == INTERRUPTED
    assert said == "Interrupted after step 2; checkpoint 2 is saved. Continue: the same command\n"


def test_full_disk_at_sigterm_is_reported(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = Loop(run_settings(small_disk), lambda folder: require_room(folder, 1 << 30))
    with pytest.raises(SystemExit, match=str(TERMINATED)), exit_codes():
        loop.run("generate", send(signal.SIGTERM))
    assert "step 2 could not be saved" in (said := capsys.readouterr().out)
    assert "1,024.0 MiB are needed" in said and "are missing" in said and "and the run ends" in said
