"""Test that a short run on real engines survives the death of one process of each kind, including the driver.

CHAOS_SEEDS=5 runs it with five seeds; `-rP` prints the kills.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tandem.authors import Authors
from tests.support import ROOT
from tests.support.monkey import Kill, Killed, Monkey, engine, plan, titled, workers
from tests.support.shared_memory import abandoned_files

UNDISTURBED_S, KILLED_S, RESUMED_S = 300, 400, 240
"""Time limit of the three runs."""
pytestmark = [
    pytest.mark.chaos,
    pytest.mark.slow,
    pytest.mark.timeout(UNDISTURBED_S + KILLED_S + RESUMED_S + 20),
    pytest.mark.usefixtures("fresh_processes"),
]
SEEDS = range(1, 1 + int(os.environ.get("CHAOS_SEEDS", "1")))
STEPS, PROMPTS, GROUP_SIZE, HELD_OUT = 24, 8, 8, 160
VICTIMS = {
    "senior engine": engine(0),
    "junior engine": engine(1),
    "rollout actor": titled("RolloutActor"),
    "reward actor": titled("RewardActor"),
    "reward worker": workers,
    "learner rank": titled("Rank"),
}
ROLLOUT_ACTOR_LOSSES = 3  # with its engines
COMMAND = [
    sys.executable,
    "launch/train.py",
    f"steps={STEPS}",
    f"rollout.prompts_per_step={PROMPTS}",
    f"rollout.group_size={GROUP_SIZE}",
    f"eval.problems={HELD_OUT}",
    f"log.samples_per_step={PROMPTS * GROUP_SIZE}",
    "checkpoint.save_every=3",
    "guard.stall_s=120",
    "resume=auto",
]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The folder of temporary files; its path is short because of Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    yield folder
    for process in using(folder):
        process.kill()
    shutil.rmtree(folder)


def start(runs: Path, name: str, temporary: Path) -> subprocess.Popen[str]:
    """Start or resume the training."""
    return subprocess.Popen(
        [*COMMAND, f"log.dir={runs}", f"name={name}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def using(temporary: Path) -> list[psutil.Process]:
    """Return the processes with the temporary folder `temporary`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR", "").startswith(str(temporary)):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_sound(run: Path) -> None:
    """Check that every group of every step was judged exactly once, and that each step published its version."""
    rows = lines(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [row["weights/version"] for row in rows] == list(range(STEPS + 1))
    judged = [(sample["step"], sample["id"]) for sample in lines(run / "samples.jsonl") if sample["set"] == "training"]
    steps, places = range(1, STEPS + 1), [(i, k) for i in range(PROMPTS) for k in range(GROUP_SIZE)]
    assert sorted(judged) == sorted((s, f"step{s}/{i}/{k}") for s in steps for i, k in places)
    for row in rows[1:]:
        others = row["reward/wrong"] + row["reward/timeouts"] + row["reward/unparsable"] + row["reward/errors"]
        assert round(row["reward/correct"] * PROMPTS * GROUP_SIZE) + others == PROMPTS * GROUP_SIZE
        assert row["reward/errors"] == 0
        assert row["logprob/gap_mean"] < 1e-3, "the restarted engines have the learner's weights"
        assert 0 < row["host/memory_fraction"] < 1
    kv_usage = [row["engine/kv_usage_senior"] for row in rows[1:] if "engine/kv_usage_senior" in row]
    assert len(kv_usage) >= STEPS - ROLLOUT_ACTOR_LOSSES, "only dead engines report no usage"
    assert all(0 < used <= 1 for used in kv_usage)


def final_accuracy(run: Path) -> float:
    return lines(run / "metrics.jsonl")[-1]["solo/accuracy"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, authors: Authors) -> float:
    """The final accuracy of a run without kills."""
    runs, temporary = tmp_path_factory.mktemp("undisturbed"), Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    output, _ = (process := start(runs, "run", temporary)).communicate(timeout=UNDISTURBED_S)
    assert process.returncode == 0, output
    temporary.rmdir()
    assert_sound(runs / "run")
    return final_accuracy(runs / "run")


def told(seed: int, killed: list[Killed]) -> str:
    """Return the kills as rows of a table."""
    return "\n".join(f"| {seed} | {kill.victim} | {kill.rows} | `{kill.doing}` |" for kill in killed)


@pytest.mark.parametrize("seed", SEEDS)
def test_run_survives_death_of_one_of_each_kind(seed: int, undisturbed: float, tmp_path: Path, temporary: Path) -> None:
    metrics, began = tmp_path / "run" / "metrics.jsonl", time.monotonic()
    process = start(tmp_path, "run", temporary)
    # The driver last, because its death ends all other processes.
    driver = Kill("driver", STEPS - 5, float(np.random.default_rng(seed).uniform()))
    kills = [*plan(seed, list(VICTIMS), first=1, last=STEPS - 7, longest_s=1.2), driver]
    with Monkey(process.pid, metrics, kills, VICTIMS | {"driver": lambda driver: [driver]}) as monkey:
        first, _ = process.communicate(timeout=KILLED_S)
    print(told(seed, monkey.killed))
    assert process.returncode == -9, first
    assert [killed.victim for killed in monkey.killed] == [kill.victim for kill in kills]
    second, _ = (process := start(tmp_path, "run", temporary)).communicate(timeout=RESUMED_S)
    assert process.returncode == 0, second
    assert_sound(tmp_path / "run")
    noise = (2 * 0.25 / HELD_OUT) ** 0.5
    print(f"seed {seed}: {time.monotonic() - began:.0f} s, {final_accuracy(tmp_path / 'run'):.3f} against {undisturbed:.3f}")
    assert abs(final_accuracy(tmp_path / "run") - undisturbed) < 4 * noise
    assert first.count("RESTART: ") >= 4, "three rollout actors, learner and reward actor, unless two died together"
    _, left = psutil.wait_procs(using(temporary), timeout=60)
    assert not left
    assert not list(temporary.iterdir())
    assert not abandoned_files()
