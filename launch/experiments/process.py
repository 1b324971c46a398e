"""One run of a sweep in a separate process, so that its failure does not affect the other runs."""

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
    """Run the command of the current Hydra job's arm, unless the arm has finished."""
    number = HydraConfig.get().job.num
    arm, tag = arms[number], f"[{number + 1}/{len(arms)}] {arms[number].label}:"
    if arm.finished:
        print(f"{tag} already finished", flush=True)
        return
    print(f"{tag} runs; python launch/watch.py {arm.folder}", flush=True)
    outcome = run_process(arm, commands[number])
    print(f"{tag} {outcome.state} after {outcome.seconds:.0f} s" + (f": {outcome.error}" if outcome.error else ""), flush=True)


def command(arm: Arm) -> list[str]:
    """Return the command line of the arm's process."""
    kept = [override for override in arm.overrides if not override.startswith(("name=", "log.dir="))]
    places = [f"name={quoted(arm.config.name)}", f"log.dir={quoted(arm.config.log.dir)}"]
    return [sys.executable, str(TRAIN), *kept, *places]


def run_process(arm: Arm, command: Sequence[str]) -> Outcome:
    """Run `command` to its end; write its output and its outcome to the arm's folder.

    On an interrupt, send SIGTERM to the process, so that it saves a checkpoint, and wait for it.
    """
    arm.folder.mkdir(parents=True, exist_ok=True)
    output = arm.folder / OUTPUT
    start, earlier = time.monotonic(), read_outcome(arm.folder)
    before = output.stat().st_size if output.exists() else 0
    # In a new session the process receives SIGTERM alone, and not also the terminal's SIGINT.
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
    seconds = time.monotonic() - start + (earlier.seconds if earlier else 0)
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
    """Wait for `process`; return the interrupt that ended it, if there was one."""
    try:
        process.wait()
    except KeyboardInterrupt as interrupt:
        process.terminate()
        process.wait()
        return interrupt
    return None
