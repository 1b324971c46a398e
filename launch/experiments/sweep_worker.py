"""The worker of a sweep: a process that makes runs one after another, in one Ray cluster and on engines that it keeps.

A run that fails ends this process, with the exit code of launch/train.py, and does not affect the other runs: the next one
starts a new worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from launch.cluster.local_cluster import ray_cluster
from launch.entry import configuration, exit_codes, use_cache
from launch.experiments.engines import SharedEngines
from launch.experiments.run_outcome import FAILED, FINISHED, INTERRUPTED, OUTPUT, RunOutcome, error_of
from launch.experiments.sweep_runs import SweepRun
from launch.run import program
from launch.status import status
from tandem.records.run_record import LOGS
from tandem.runtime import exit_status

IN_SEQUENCE = "basic"
"""Hydra's launcher that executes one run after another in this process."""
PROGRAM = "launch/train.py"
"""The program's name in the worker's messages."""


def execute_run(_: DictConfig, runs: Sequence[SweepRun], worker: Worker) -> None:
    """Execute the run of the current Hydra job, unless it has finished."""
    job = HydraConfig.get()
    run, tag = runs[job.job.num], f"[{job.job.num + 1}/{len(runs)}] {runs[job.job.num].label}:"
    if run.finished:
        print(f"{tag} already finished", flush=True)
        return
    in_sequence = job.runtime.choices["hydra/launcher"] == IN_SEQUENCE
    print(f"{tag} runs; python launch/watch.py {run.path}", flush=True)
    with status(f"{tag} runs") if sys.stdout.isatty() and in_sequence else nullcontext():
        outcome = worker.execute(run)
    if not in_sequence:
        worker.close()  # a process of the launcher does not know which run is its last
    print(f"{tag} {outcome.state} after {outcome.seconds:.0f} s" + (f": {outcome.error}" if outcome.error else ""), flush=True)


def command(logs: Path) -> list[str]:
    """Return the command of the worker's process, which copies Ray's logs to `logs` after an error."""
    return [sys.executable, "-m", "launch.experiments.sweep_worker", str(logs)]


class Worker:
    """A process that makes runs one after another on engines that it keeps. A failed run ends it; the next one starts anew."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def execute(self, run: SweepRun) -> RunOutcome:
        """Execute `run`; write its output and its outcome to its folder.

        On an interrupt, send SIGTERM to the process, so that it saves a checkpoint, and wait for it.
        """
        run.path.mkdir(parents=True, exist_ok=True)
        output = run.path / OUTPUT
        output.touch()
        start, before = time.monotonic(), output.stat().st_size
        interrupt: KeyboardInterrupt | None = None
        try:
            code = self._request(run, output)
        except KeyboardInterrupt as error:
            interrupt, code = error, self._terminate()
        seconds = run.seconds_since(start)
        state = {0: FINISHED, exit_status.INTERRUPTED: INTERRUPTED, exit_status.TERMINATED: INTERRUPTED}.get(code, FAILED)
        state = INTERRUPTED if interrupt else state
        printed = output.read_bytes()[before:].decode(errors="replace")
        outcome = RunOutcome(state, code, seconds, run.config.steps, error_of(printed, code) if state == FAILED else "")
        outcome.write(run.path)
        if interrupt:
            raise interrupt
        return outcome

    def _request(self, run: SweepRun, output: Path) -> int:
        """Execute `run` in the process. Return the exit code of the process, or 0 if it is still running."""
        if self._process is None:
            self._start(output, run.path.parent / LOGS)
        assert self._connection is not None
        try:
            self._connection.send((run.overrides, output))
            self._connection.recv()
        except (EOFError, OSError):  # it has ended
            return self._wait()
        return 0

    def _start(self, output: Path, logs: Path) -> None:
        self._connection, other = Pipe()
        # In a new session the process receives SIGTERM alone, and not also the terminal's SIGINT.
        with output.open("ab") as file, other:
            self._process = subprocess.Popen(
                [*command(logs), str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                pass_fds=[other.fileno()],
                start_new_session=True,
            )

    def _terminate(self) -> int:
        if self._process is not None:
            self._process.terminate()
        return self._wait()

    def _wait(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        if self._connection is not None:
            self._connection.close()
        code = self._process.wait() if self._process else 0
        self._process = self._connection = None
        return code

    def close(self) -> None:
        """End the process and its engines."""
        self._wait()


def work(requests: Connection, logs: Path) -> None:
    """Make the runs that are requested, until the other end closes.

    A request holds a run's overrides and the file to append its output to; the answer to a run that has finished is its file.
    """
    with ray_cluster(logs), SharedEngines() as engines:
        for overrides, output in received(requests):
            append_output(output)
            sys.argv = [PROGRAM, *overrides]
            with exit_codes():
                config = configuration(overrides)
                use_cache(config)
                program.run(config, engines.borrow_engines)
            requests.send(output)


def received(requests: Connection) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Yield each request, until the other end closes."""
    with suppress(EOFError):
        while True:
            yield requests.recv()


def append_output(file: Path) -> None:
    """Append what this process and those that it starts print to `file`."""
    with file.open("ab") as opened:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(opened.fileno(), stream.fileno())


if __name__ == "__main__":
    logs, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(descriptor, False)  # the other end waits until the last process closes it
    with exit_codes(), Connection(descriptor) as requests:
        work(requests, logs)
