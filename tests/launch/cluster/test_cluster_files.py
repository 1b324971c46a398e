"""Tests of the files that start a cluster: the Kubernetes manifest, the image, the scripts and their errors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support import ROOT

CLUSTER = ROOT / "launch" / "cluster"
GROUP: dict[str, Any] = {
    "type": "object",
    "required": ["rayStartParams", "template"],
    "properties": {
        "rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}},
        "template": {"type": "object", "required": ["spec"]},
    },
}
WORKERS: dict[str, Any] = {
    "required": [*GROUP["required"], "groupName", "replicas", "minReplicas", "maxReplicas"],
    "properties": GROUP["properties"]
    | {"groupName": {"type": "string"}}
    | {count: {"type": "integer", "minimum": 0} for count in ("replicas", "minReplicas", "maxReplicas")},
    "additionalProperties": False,
}
RAY_CLUSTER = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayCluster"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "required": ["headGroupSpec"],
            "additionalProperties": False,
            "properties": {
                "rayVersion": {"type": "string"},
                "authOptions": {"properties": {"mode": {"enum": ["disabled", "token"]}}, "additionalProperties": False},
                "headGroupSpec": GROUP | {"additionalProperties": False},
                "workerGroupSpecs": {"type": "array", "items": WORKERS},
            },
        },
    },
}
"""The schema of the RayCluster fields in the manifest, from KubeRay's reference (1.7)."""


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())


def groups(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]


def test_manifest_describes_ray_cluster(manifest: dict[str, Any]) -> None:
    jsonschema.validate(manifest, RAY_CLUSTER)
    manifest["spec"]["workerGroupSpecs"][0]["replicas"] = "two"
    with pytest.raises(jsonschema.ValidationError, match="two"):
        jsonschema.validate(manifest, RAY_CLUSTER)
    manifest["spec"]["workerGroupSpecs"][0]["replicas"] = 2


@pytest.mark.parametrize("index", [0, 1])
def test_pods_follow_kubernetes_schema(manifest: dict[str, Any], index: int) -> None:
    template = groups(manifest)[index]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **template}
    kubernetes_validate.validate(pod, "1.32", strict=True)


def test_pods_have_token_and_shared_memory(manifest: dict[str, Any]) -> None:
    assert manifest["spec"]["authOptions"] == {"mode": "token"}
    for group in groups(manifest):
        spec = group["template"]["spec"]
        mounted = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert volumes[mounted["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
        assert "persistentVolumeClaim" in volumes[mounted["/shared"]]


def test_gpu_pods_may_lock_memory_and_name_their_network(manifest: dict[str, Any]) -> None:
    workers = manifest["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    assert workers["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]
    for group in groups(manifest):
        variables = {each["name"]: each["value"] for each in group["template"]["spec"]["containers"][0]["env"]}
        assert variables["NCCL_SOCKET_IFNAME"] == variables["GLOO_SOCKET_IFNAME"] == "eth0"
        assert variables["RAY_worker_niceness"] == "0"
    assert "libibverbs1" in (CLUSTER / "Dockerfile").read_text()


FAKE_SLURM = {
    "scontrol": "printf 'one\\ntwo\\n'",
    "ray": 'if [ "$1" = list ]; then echo "[{}]"; else touch "$SUBMITTED"; fi',
    "srun": 'case "$*" in *one*python*) echo 10.0.0.1;; *one*head*) exec sleep 600;; *) exec $SRUN_WORKER;; esac',
}
"""Programs of a Slurm job whose second node does not join the cluster."""


@pytest.mark.seconds
@pytest.mark.parametrize(("worker", "timeout_s"), [("false", "600"), ("sleep 600", "1")], ids=["fails", "waits"])
def test_slurm_job_ends_when_a_node_does_not_start(tmp_path: Path, worker: str, timeout_s: str) -> None:
    (activate := tmp_path / ".venv" / "bin" / "activate").parent.mkdir(parents=True)
    activate.touch()
    (programs := tmp_path / "programs").mkdir()
    for name, program in FAKE_SLURM.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{program}\n")
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home := tmp_path / "home"),
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "one,two",
        "SRUN_WORKER": worker,
        "START_TIMEOUT_S": timeout_s,
        "SUBMITTED": str(tmp_path / "submitted"),
    }
    done = subprocess.run([CLUSTER / "slurm.sh"], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1 and f"not all of 2 nodes started within START_TIMEOUT_S={timeout_s}" in done.stderr
    assert not (tmp_path / "submitted").exists()
    assert not [path for path in [*tmp_path.glob("*token*"), *home.rglob("token*")] if path.exists()], "the token is removed"


def test_image_contains_every_package() -> None:
    copied = [line.split()[1] for line in (CLUSTER / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    root = CLUSTER.parent.parent
    assert {"tandem", "actors", "learner", "launch", "conf"} <= set(copied)
    assert all((root / name).exists() for name in copied)


@pytest.mark.parametrize("script", ["start_node.sh", "slurm.sh"])
def test_scripts_have_valid_syntax(script: str) -> None:
    assert os.access(CLUSTER / script, os.X_OK)
    subprocess.run(["bash", "-n", CLUSTER / script], check=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "start_node.sh head INTERFACE"),
        (["tail", "lo"], "start_node.sh head INTERFACE"),
        (["worker", "lo"], "start_node.sh head INTERFACE"),
        (["head", "nowhere0"], "there is no network interface nowhere0; choose "),
        (["worker", "lo", "127.0.0.1:1"], "auth_token: there is no token; copy the head's here"),
    ],
)
def test_failing_start_prints_reason(tmp_path: Path, arguments: list[str], said: str) -> None:
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    refused = subprocess.run([CLUSTER / "start_node.sh", *arguments], env=environment, capture_output=True, text=True)
    assert refused.returncode != 0 and said in refused.stderr


FAKE_RAY = """#!/usr/bin/env bash
printf '%s\\n' "$@"
"""


def start(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Return the arguments with which `start_node.sh` calls Ray, printed by a program in its place."""
    (ray := tmp_path / "ray").write_text(FAKE_RAY, encoding="utf-8")
    ray.chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(tmp_path), **variables}
    return subprocess.run([CLUSTER / "start_node.sh", *arguments], env=environment, capture_output=True, text=True)


def test_node_uses_no_port_of_another_ray(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        ports = {"RAY_PORT": str(free.getsockname()[1])}
    with socket.create_server(("127.0.0.1", 0)) as free:
        ports["RAY_DASHBOARD_PORT"] = str(free.getsockname()[1])
    head = start(tmp_path, "head", "lo", **ports)
    worker = start(tmp_path, "worker", "lo", f"127.0.0.1:{ports['RAY_PORT']}", **ports)
    assert head.returncode == worker.returncode == 0, head.stderr + worker.stderr
    moved = [line for line in (head.stdout + worker.stdout).splitlines() if "agent-listen-port=" in line or "client" in line]
    numbers = [int(line.partition("=")[2]) for line in moved]
    assert len(numbers) == 3 and not {52365, 10001} & set(numbers) and all(numbers)


@pytest.mark.parametrize("variable", ["RAY_PORT", "RAY_DASHBOARD_PORT"])
def test_head_reports_occupied_port(tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        port, free = taken.getsockname()[1], other.getsockname()[1]
        other.close()
        ports = {"RAY_PORT": str(free), "RAY_DASHBOARD_PORT": str(free)} | {variable: str(port)}
        refused = start(tmp_path, "head", "lo", **ports)
    assert refused.returncode == 2
    assert f"{variable}={port}: another process listens on this port of 127.0.0.1; choose another with" in refused.stderr
