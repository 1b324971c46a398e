"""Tests of `ray job submit` on a real cluster of two nodes with a dashboard and a token, on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest
import yaml
from openai import OpenAI

from tandem.authors import Authors
from tandem.runtime.exit_status import TERMINATED
from tests.support import ROOT
from tests.support.finished_run import check_finished_run
from tests.support.monkey import is_engine
from tests.support.preloaded.python import with_preloaded_python
from tests.support.server import running_server
from tests.support.shared_memory import abandoned_files

pytestmark = pytest.mark.engines

BIN = Path(sys.executable).parent
SMALL = [
    "steps=3",
    "rollout.prompts_per_step=4",
    "rollout.group_size=4",
    "rollout.max_in_flight=16",
    "eval.problems=24",
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@dataclass(frozen=True)
class RayCluster:
    """Two node processes and their addresses."""

    address: str
    dashboard: str
    folder: Path
    environment: dict[str, str]

    def ray(self, *arguments: str, token: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a Ray command against the dashboard, with or without the token."""
        environment = self.environment if token else {k: v for k, v in self.environment.items() if not k.startswith("RAY_AUTH")}
        return subprocess.run(
            [BIN / "ray", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout
        )

    def listed(self, what: str) -> list[dict[str, str]]:
        """Return the `nodes` or `actors` of the dashboard. Raises `OSError` when it does not answer."""
        token = (self.folder / "token").read_text().strip()
        request = Request(f"{self.dashboard}/api/v0/{what}?detail=true", headers={"Authorization": f"Bearer {token}"})
        with urlopen(request, timeout=10) as answer:
            listed: list[dict[str, str]] = json.load(answer)["data"]["result"]["result"]
        return listed

    def submit(
        self, *overrides: str, options: tuple[str, ...] = (), token: bool = True, fresh: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Submit a run as docs/cluster.md says. Its workers are forks (tests/support/preloaded) unless it is `fresh`."""
        used = ROOT / "conf/runtime_env.yaml"
        if not fresh:
            runtime_env = with_preloaded_python(yaml.safe_load(used.read_text()))
            (used := self.folder / "runtime_env.yaml").write_text(yaml.safe_dump(runtime_env))
        code = ("--working-dir", ".", "--runtime-env", str(used))
        command = ("python", "launch/train.py", f"log.dir={self.folder / 'runs'}", *overrides)
        return self.ray("job", "submit", "--address", self.dashboard, *code, *options, "--", *command, token=token)


@pytest.fixture(scope="module")
def cluster(authors: Authors) -> Iterator[RayCluster]:
    """A head with a dashboard and a second node, which require a token; all processes end after the tests."""
    folder = Path(tempfile.mkdtemp(prefix="tj-", dir="/tmp"))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))}
    environment = kept | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(folder),
        "TANDEM_CACHE": str(Path(os.environ.get("TANDEM_CACHE", "~/.cache/tandem")).expanduser()),
        "TMPDIR": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    head, dashboard = free_port(), free_port()
    environment |= {"RAY_PORT": str(head), "RAY_DASHBOARD_PORT": str(dashboard)}

    def node(*arguments: str) -> subprocess.Popen[bytes]:
        command = [str(ROOT / "launch/cluster/start_node.sh"), *arguments, "--num-cpus=1"]
        with (folder / "ray.log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        nodes = [node("head", "lo", f"--temp-dir={folder}")]
        stack.callback(end, nodes)
        started = RayCluster(f"127.0.0.1:{head}", f"http://127.0.0.1:{dashboard}", folder, environment)
        wait_for(started, nodes=1)
        nodes.append(node("worker", "lo", f"127.0.0.1:{head}"))
        wait_for(started, nodes=2)
        yield started


def wait_for(cluster: RayCluster, nodes: int) -> None:
    """Wait until the dashboard lists this number of nodes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if len(cluster.listed("nodes")) == nodes:
                return
        except (OSError, KeyError, ValueError):  # the token or the dashboard is not ready yet
            pass
        time.sleep(0.3)
    pytest.fail((cluster.folder / "ray.log").read_text())


def end(nodes: list[subprocess.Popen[bytes]]) -> None:
    """End the nodes and their child processes."""
    started = [child for node in nodes for child in psutil.Process(node.pid).children(recursive=True)]
    for node in reversed(nodes):
        node.send_signal(signal.SIGTERM)
    for node in nodes:
        node.wait(timeout=30)
    _, alive = psutil.wait_procs(started, timeout=60)
    for process in alive:
        process.kill()


def test_job_without_token_is_refused(cluster: RayCluster) -> None:
    refused = cluster.submit(*SMALL, token=False)
    assert refused.returncode != 0
    assert "Unauthorized" in refused.stdout + refused.stderr or "401" in refused.stdout + refused.stderr


@pytest.mark.slow
def test_invalid_job_fails_with_reason(cluster: RayCluster) -> None:
    failed = cluster.submit("mode=cluster", "mode.device=cuda")
    assert failed.returncode != 0
    assert "mode.device=cuda: no node of the Ray cluster has GPUs; choose mode.device=cpu" in failed.stdout
    assert "exit code 2" in failed.stdout + failed.stderr


@pytest.mark.timeout(660)
def test_job_trains_with_replicas_on_both_nodes(cluster: RayCluster) -> None:
    done = cluster.submit("mode=cluster", "name=job", "rollout.replicas=2", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    run = cluster.folder / "runs" / "job"
    check_finished_run(run, steps=3)
    assert "[3/3]" in done.stdout and "succeeded" in done.stdout and f"{run / 'senior'}" in done.stdout.replace("\n", "")
    check_one_replica_on_each_node(cluster, "DEAD")
    assert not abandoned_files()


def check_one_replica_on_each_node(cluster: RayCluster, state: str) -> None:
    """Check that the rollout actors in this state are two, each on another node."""
    actors = [actor for actor in cluster.listed("actors") if actor["class_name"] == "RolloutActor"]
    replicas = [actor for actor in actors if actor["state"] == state]
    assert len(replicas) == len({actor["node_id"] for actor in replicas}) == 2


def test_server_writes_with_replicas_on_both_nodes(cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both replicas write, and a text does not depend on which one does."""
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)  # of the cluster of other tests
    settings = ("mode=cluster", "rollout.replicas=2", "rollout.max_in_flight=4")
    with running_server(cluster.folder, *settings, **(cluster.environment | {"RAY_ADDRESS": cluster.address})) as server:
        check_one_replica_on_each_node(cluster, "ALIVE")
        client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)

        def texts() -> list[tuple[str, object]]:
            written = client.completions.create(model="team", prompt="Mia has 4 pens.", n=8, seed=7, max_tokens=32)
            return [(choice.text, choice.model_extra["authors"]) for choice in written.choices if choice.model_extra]

        first, again = texts(), texts()
        assert len(first) == 8 and first == again
        assert server.stop() == TERMINATED


@pytest.mark.slow
def test_stopped_job_writes_a_checkpoint_and_leaves_no_engine(cluster: RayCluster) -> None:
    name = ("--submission-id", "stopped", "--no-wait")
    submitted = cluster.submit("mode=cluster", "name=stopped", *SMALL[1:], "steps=500", options=name, fresh=True)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    metrics, deadline = cluster.folder / "runs" / "stopped" / "metrics.jsonl", time.monotonic() + 200
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > 2):
        assert time.monotonic() < deadline, cluster.ray("job", "logs", "--address", cluster.dashboard, "stopped").stdout
        time.sleep(1)
    cluster.ray("job", "stop", "--address", cluster.dashboard, "stopped")
    status = cluster.ray("job", "status", "--address", cluster.dashboard, "stopped")
    assert "stopped" in (status.stdout + status.stderr).lower()
    logs = cluster.ray("job", "logs", "--address", cluster.dashboard, "stopped").stdout
    assert "SIGTERM: writing a checkpoint" in logs and "Interrupted" in logs and "Traceback" not in logs
    engines = [process for process in psutil.process_iter(["environ"]) if is_engine(process)]
    assert not [process for process in engines if str(cluster.folder) in (process.info["environ"] or {}).get("TMPDIR", "")]
