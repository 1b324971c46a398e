"""Tests of launch/train.py in a separate process, with real engines and a real learner."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from tandem.authors import Authors
from tandem.records.saved_rollouts import load_step
from tandem.records.step_folders import step_folders
from tandem.rollout import SENIOR
from tandem.runtime.exit_status import FAILED
from tests.support import ROOT
from tests.support.monkey import command, descendants, is_engine
from tests.support.shared_memory import abandoned_files, mapped_files
from tests.support.terminal import in_terminal, visible

pytestmark = pytest.mark.engines


@pytest.fixture
def temporary(fresh_processes: None) -> Iterator[Path]:
    """The run's folder of temporary files; its path is short because of Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


CTRL_C = b"\x03"
FEW = ("rollout.prompts_per_step=8", "rollout.group_size=4", "eval.problems=24")


@pytest.fixture
def start(tmp_path: Path, temporary: Path, authors: Authors) -> Iterator[Any]:
    """Start `python launch/train.py` with overrides; kill its remaining processes after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*overrides: str) -> subprocess.Popen[str]:
        command = [sys.executable, "launch/train.py", f"log.dir={tmp_path}", "name=run", "eval.problems=48", *overrides]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def traced(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the spans of the run's trace, by row."""
    events = json.loads(gzip.decompress((run / "trace.json.gz").read_bytes()))["traceEvents"]
    rows = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    return {name: [e for e in events if e["ph"] == "X" and e["pid"] == row] for row, name in rows.items()}


def assert_within_the_step(rows: dict[str, list[dict[str, Any]]]) -> None:
    (step,) = (span for span in rows["driver"] if span["name"] == "step 2")
    assert step["ts"] == 0
    for name, spans in rows.items():
        assert spans, f"{name} did nothing"
        assert all(span["ts"] >= 0 and span["ts"] + span["dur"] <= step["dur"] + 1 for span in spans), name


@pytest.mark.slow
def test_rollouts_only_run_saves_rollouts_and_trace(start: Any, tmp_path: Path, temporary: Path) -> None:
    sizes = ["rollout.prompts_per_step=2", "rollout.sampling.max_tokens=48"]
    output, _ = (process := start("rollouts_only=true", "steps=2", "profile=true", *sizes)).communicate(timeout=200)
    assert process.returncode == 0, output
    run = tmp_path / "run"
    groups = [load_step(step) for step in step_folders(run / "rollouts").values()]
    assert [[len(group.rollouts) for group in step] for step in groups] == [[8, 8], [8, 8]]
    assert all(np.array_equal(r.authorship == SENIOR, r.weight_versions == 0) for s in groups for g in s for r in g.rollouts)
    samples = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert [sample["id"] for sample in samples] == [r.id for step in groups for group in step for r in group.rollouts]
    rows = traced(run)
    actor = "rollout actor 0"
    assert list(rows) == ["driver", actor, f"{actor}, senior engine", f"{actor}, junior engine", "reward actor"]
    assert_within_the_step(rows)
    assert [span["name"] for span in rows["driver"]] == ["step 2", "generate", "judge"]
    turns = [turn for group in groups[1] for rollout in group.rollouts for turn in rollout.turns]
    assert sum(int(span["name"].split("(")[1][:-1]) for span in rows[actor]) == sum(turn.stop - turn.start for turn in turns)
    assert not list(temporary.iterdir())


@pytest.mark.timeout(660)
@pytest.mark.slow
def test_run_trains_on_texts_of_one_token(start: Any, tmp_path: Path) -> None:
    """Prompts, groups and texts have minimal size; some steps have no senior token."""
    smallest = ["rollout.prompts_per_step=1", "rollout.group_size=2", "rollout.sampling.max_tokens=1"]
    # A verifier that accepts some first tokens, so that rewards differ.
    process = start("steps=8", *smallest, "data.verifier=operator:lt", "eval.problems=4")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["weights/version"] for row in rows] == list(range(9))
    assert all(row["rollout/tokens"] == 2 and row["tandem/handoffs_per_rollout"] == 0 for row in rows[1:])
    assert {0, 1} <= {row["tandem/senior_token_fraction"] for row in rows[1:]}


@pytest.mark.timeout(660)
@pytest.mark.slow
def test_nan_in_base_weights_stops_run(start: Any, tmp_path: Path, authors: Authors) -> None:
    model = AutoModelForCausalLM.from_pretrained(authors.senior)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    model.save_pretrained(tmp_path / "nan")
    authors.tokenizer.save_pretrained(tmp_path / "nan")
    sizes = ["data.max_prompt_tokens=128", "rollout.sampling.max_tokens=48", "eval.sampling.max_tokens=48"]
    output, _ = (process := start("model=hf", f"model.path={tmp_path / 'nan'}", *sizes)).communicate(timeout=600)
    assert process.returncode == FAILED, output
    assert "the senior gave token 0 the log-probability nan: its weights of version 0, the base model's, hold NaN" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_trace_covers_all_actors(start: Any, tmp_path: Path) -> None:
    output, _ = (process := start("steps=2", "profile=true", "learner.ranks=2", "eval.problems=16")).communicate(timeout=280)
    assert process.returncode == 0, output
    rows = traced(tmp_path / "run")
    assert list(rows)[-3:] == ["reward actor", "learner rank 0", "learner rank 1"]
    assert_within_the_step(rows)
    phases = ["generate", "judge", "update", "canary", "publish", "canary"]
    assert [span["name"] for span in rows["driver"]] == ["step 2", *phases]
    assert {"update", "publish"} <= {span["name"] for span in rows["learner rank 0"]}


def wait_for(pid: int, is_wanted: Callable[[psutil.Process], bool], count: int) -> None:
    """Wait until the process `pid` has `count` wanted descendants; fail with a list of its processes."""
    deadline = time.monotonic() + 60
    while sum(map(is_wanted, children := descendants(psutil.Process(pid)))) != count:
        if time.monotonic() > deadline:
            pytest.fail(f"{count} processes wanted; running: {[command(child) for child in children]}")
        time.sleep(0.1)


def assert_stale_by_at_most(bound: int, metrics: Path) -> None:
    """Check that rollouts are at most `bound` versions old, which are in flight during updates only if it is above 0.

    Check also that the engines received every version.
    """
    rows = [json.loads(line) for line in metrics.read_text().splitlines()][1:]
    assert [row["weights/version"] for row in rows] == list(range(1, len(rows) + 1))
    staleness = [row["rollout/staleness_mean"] for row in rows]
    assert staleness[0] == 0 and max(staleness) <= bound and (max(staleness) > 0) == bool(bound)
    overlap = [row.get("rollout/overlap_fraction", 0) for row in rows]
    assert min(overlap) >= 0 and max(overlap) <= 1 and (max(overlap) > 0) == bool(bound)


@dataclass(frozen=True)
class Started:
    """The processes of a run, and the files that they have mapped in shared memory."""

    processes: list[psutil.Process]
    files: set[Path]

    @classmethod
    def by(cls, pid: int) -> Started:
        """Return those of the run whose driver is the process `pid`."""
        processes = psutil.Process(pid).children(recursive=True)
        return cls(processes, mapped_files(processes))

    def assert_ended(self) -> None:
        """Check that nothing is left."""
        _, alive = psutil.wait_procs(self.processes, timeout=60)
        assert not alive
        assert not [file for file in self.files if file.exists()] + abandoned_files()


@pytest.mark.parametrize(
    ("overrides", "moment", "running"),
    [
        ([], "Starting 1 rollout actor", None),
        pytest.param(
            ["rollout.max_staleness=1", "rollout.prompts_per_step=4", "algo.dynamic_sampling_rounds=2"],
            "[5/500]",
            2,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["while the engines start", "while writing ahead"],
)
def test_interrupted_run_leaves_no_process(
    start: Any, tmp_path: Path, temporary: Path, overrides: list[str], moment: str, running: int | None
) -> None:
    process = start("steps=500", "eval.problems=16", *overrides)
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(moment):
            break
    else:
        pytest.fail("".join(said))
    if running is None:
        wait_for(process.pid, lambda child: command(child).startswith("ray::RolloutActor"), 1)
    else:
        wait_for(process.pid, is_engine, running)
        assert_stale_by_at_most(int("rollout.max_staleness=1" in overrides), tmp_path / "run" / "metrics.jsonl")
    started = Started.by(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "Interrupted" in rest and "Traceback" not in rest
    started.assert_ended()
    assert not list(temporary.iterdir())


@pytest.mark.usefixtures("authors")
def test_run_interrupted_in_terminal_keeps_table_and_leaves_no_process(tmp_path: Path, temporary: Path) -> None:
    """The run trains on two ranks, without a junior."""
    sizes = ("rollout.prompts_per_step=4", "rollout.group_size=2", "rollout.sampling.max_tokens=16", "eval.problems=8")
    settings = ("steps=500", "checkpoint.save_every=1", "algo=kl_reg", "learner.ranks=2", f"log.dir={tmp_path}", "name=run")
    started: list[Started] = []

    def check(pid: int) -> None:
        wait_for(pid, is_engine, 1)  # the senior's
        assert_stale_by_at_most(0, tmp_path / "run" / "metrics.jsonl")
        started.append(Started.by(pid))

    code, written = in_terminal(
        ["launch/train.py", *settings, *sizes], {"TMPDIR": str(temporary)}, keys=CTRL_C, after="│    2 │", check=check
    )
    shown = visible(written)
    assert code == 130 and "Traceback" not in shown, shown
    started[0].assert_ended()
    assert not list(temporary.iterdir())

    assert re.search(r"Starting 1 rollout actor and 2 learner ranks \(ZeRO-\d\) \(usually under a minute", shown)
    *_, last = shown.rstrip().splitlines()
    said = re.fullmatch(
        r"Interrupted after step (\d+); checkpoint (\d+) is saved\. Continue: (python launch/train.py .*)", last
    )
    assert said and int(said[1]) - int(said[2]) in (0, 1) and said[3].endswith("resume=auto")
    table = shown[shown.rindex("senior share") :]
    assert [int(step) for step in re.findall(r"^│ +(\d+) │", table, re.MULTILINE)] == [*range(int(said[1]) + 1)]


@pytest.mark.timeout(660)
@pytest.mark.slow
def test_sigterm_saves_checkpoint_and_printed_command_resumes(start: Any, tmp_path: Path, temporary: Path) -> None:
    process = start("steps=500", "eval.problems=16", *FEW[:2])
    assert any(line.startswith("[5/500]") for line in process.stdout)
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    rest, _ = process.communicate(timeout=90)
    assert process.returncode == 143, rest
    assert "Traceback" not in rest and "SIGTERM received" not in rest
    (said,) = (line for line in rest.splitlines() if line.startswith("Interrupted after step "))
    step = int(said.split()[3].rstrip(";"))
    assert step >= 5 and f"checkpoint {step} is saved. Continue: python launch/train.py " in said
    assert "name=run resume=auto" in said
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive and not list(temporary.iterdir())
    output, _ = (process := start(f"steps={step + 1}", "eval.problems=16", *FEW[:2], "resume=auto")).communicate(timeout=300)
    assert process.returncode == 0, output
    assert f"resuming after step {step}" in output
    assert len({path.stat().st_mode for path in (tmp_path / "run" / "senior").iterdir()}) == 1, "as set by the umask"


@pytest.mark.timeout(660)
@pytest.mark.slow
def test_killed_run_resumes_with_another_number_of_ranks(start: Any, tmp_path: Path) -> None:
    common = ["eval.problems=16", "checkpoint.save_every=2", "resume=auto"]
    process = start("steps=500", "learner.ranks=2", *common)
    assert any(line.startswith("[5/500]") for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    output, _ = (process := start("steps=8", "learner.zero_stage=2", *common)).communicate(timeout=300)
    assert process.returncode == 0, output
    assert "resuming after step 4" in output
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [row["weights/version"] for row in rows] == list(range(9))
    assert all(row["logprob/gap_mean"] < 1e-3 for row in rows[1:]), "the engines have the restored weights"


@pytest.mark.timeout(660)
@pytest.mark.slow
def test_three_steps_of_real_language_model(start: Any, tmp_path: Path) -> None:
    output, _ = (process := start("steps=3", "model=smollm2", "eval.problems=16")).communicate(timeout=600)
    assert process.returncode == 0, output
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["weights/version"] == 3
    assert all(row["logprob/gap_mean"] < 1e-3 for row in rows[1:])


@pytest.mark.slow
@pytest.mark.timeout(660)
def test_three_steps_of_an_adapter_on_one_engine_for_both_authors(start: Any, tmp_path: Path) -> None:
    sizes = ["rollout.prompts_per_step=2", "rollout.group_size=2", "rollout.sampling.max_tokens=24", "eval.problems=2"]
    sizes += ["eval.sampling.max_tokens=8", "eval.measures=[solo]"]
    # No text ends within 24 tokens, so that all rewards are 0; this term still has a gradient.
    sizes += ["algo.lambda_junior=0.1"]
    process = start("steps=3", "learner.lora.rank=4", "rollout.engines=shared", "learner.lr=1e-3", *sizes)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["weights/version"] for row in rows] == [0, 1, 2, 3]
    assert all(row["logprob/gap_mean"] < 1e-3 and row["tandem/handoffs_per_rollout"] > 0 for row in rows[1:])
    assert all("engine/kv_usage_senior" in row and "engine/kv_usage_junior" not in row for row in rows[1:])
    assert all(row["weights/canary_gap"] < 1e-3 for row in rows[1:])
    assert any(row["grad/norm"] > 0 for row in rows[1:]), "the adapter has changed"
