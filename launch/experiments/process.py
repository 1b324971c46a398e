"""One run of a sweep as a process of its own, so that whatever becomes of it leaves the others alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from launch.command_line import quoted
from launch.entry import INTERRUPTED as INTERRUPTED_CODE
from launch.entry import TERMINATED
from launch.experiments.outcome import FAILED, FINISHED, INTERRUPTED, OUTPUT, Outcome, error_of, read_outcome
from launch.experiments.sweep_arms import Arm

TRAIN = Path(__file__).resolve().parent.parent / "train.py"


def run_arm(_: DictConfig, arms: Sequence[Arm], commands: Sequence[Sequence[str]]) -> None:
    """Hydra's job: runs the command of the arm whose turn it is, wherever the launcher has put this, unless the arm is finished
    already."""
    number = HydraConfig.get().job.num
    arm, tag = arms[number], f"[{number + 1}/{len(arms)}] {arms[number].label}:"
    if arm.finished:
        print(f"{tag} already finished", flush=True)
        return
    print(f"{tag} runs; python launch/watch.py {arm.folder}", flush=True)
    outcome = run_process(arm, commands[number])
    print(f"{tag} {outcome.state} after {outcome.seconds:.0f} s" + (f": {outcome.error}" if outcome.error else ""), flush=True)


def command(arm: Arm) -> list[str]:
    """The command line of the arm's own process."""
    own = [f"name={quoted(arm.config.name)}", f"log.dir={quoted(arm.config.log.dir)}"]
    return [sys.executable, str(TRAIN), *arm.overrides, *own]


def run_process(arm: Arm, command: Sequence[str]) -> Outcome:
    """Runs `command` to its end, with all that it prints in the arm's folder, and keeps there what came of it.

    An interrupt ends the process by SIGTERM, so that it saves a checkpoint, and waits for that.
    """
    arm.folder.mkdir(parents=True, exist_ok=True)
    output = arm.folder / OUTPUT
    began, earlier = time.monotonic(), read_outcome(arm.folder)
    before = output.stat().st_size if output.exists() else 0
    # Out of reach of the terminal's Ctrl-C, which it would otherwise hear twice.
    with (
        output.open("ab") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        ) as process,
    ):
        interrupt = _wait(process)
    code = process.returncode
    seconds = time.monotonic() - began + (earlier.seconds if earlier else 0)
    state = (
        INTERRUPTED if interrupt else {0: FINISHED, INTERRUPTED_CODE: INTERRUPTED, TERMINATED: INTERRUPTED}.get(code, FAILED)
    )
    printed = output.read_bytes()[before:].decode(errors="replace")
    outcome = Outcome(state, code, seconds, arm.config.steps, error_of(printed, code) if state == FAILED else "")
    outcome.write(arm.folder)
    if interrupt:
        raise interrupt
    return outcome


def _wait(process: subprocess.Popen[bytes]) -> KeyboardInterrupt | None:
    """Waits until `process` has ended; the interrupt that came meanwhile and ended it, if one did."""
    try:
        process.wait()
    except KeyboardInterrupt as interrupt:
        process.terminate()
        process.wait()
        return interrupt
    return None
