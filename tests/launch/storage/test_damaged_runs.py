"""Tests of damaged run folders: exit code 2, the file's name and a remedy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from launch import doctor, report, watch
from launch.evaluation.measured_run import settings_of_run
from launch.experiments.run_outcome import _FILE, read_outcome
from tandem.config.schema import ConfigError
from tandem.runtime.exit_status import BAD_INPUT
from tests.support.run_folders import make_run

CONFIG, METRICS, SAMPLES, RESULT = "config.yaml", "metrics.jsonl", "samples.jsonl", "evaluation/a/result.json"
NOISE = bytes(range(255, -1, -1)) + b"\n"


Refusal = Callable[..., str]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Call an entry point and return its message, after which it exits with 2."""

    def refusal(main: Callable[[], object], *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["launch/entry_point.py", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == BAD_INPUT
        return capsys.readouterr().err

    return refusal


@pytest.mark.parametrize("name", [CONFIG, METRICS, SAMPLES])
@pytest.mark.parametrize("content", [NOISE, b"[]\n", b"7\n", b'{"step": "many"}\n', b'{"step": 1, "junior": "x"}\n'])
def test_error_names_damaged_file_of_run(tmp_path: Path, refusal: Refusal, name: str, content: bytes) -> None:
    file = make_run(tmp_path / "run") / name
    file.write_bytes(content)
    for main, arguments in ((report.main, []), (watch.main, ["--once"])):
        said = refusal(main, str(file.parent), *arguments)
        assert str(file) in said and "restore it from a copy" in said


@pytest.mark.parametrize("content", [NOISE, b"{", b"[]", b"{}", b'{"scores": 3}'])
def test_error_names_damaged_evaluation(tmp_path: Path, refusal: Refusal, content: bytes) -> None:
    file = make_run(tmp_path / "run") / RESULT
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert str(file) in refusal(report.main, str(tmp_path / "run"))


@pytest.mark.parametrize("content", [NOISE, b"{", b"[]", b'{"state": 1}'])
def test_error_names_damaged_outcome(tmp_path: Path, content: bytes) -> None:
    (file := tmp_path / _FILE).write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{file}: "):
        read_outcome(tmp_path)


@pytest.mark.parametrize("content", [NOISE, b"[]"])
def test_senior_of_run_with_damaged_settings_is_refused(tmp_path: Path, content: bytes) -> None:
    run = make_run(tmp_path / "run")
    (run / CONFIG).write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{run / CONFIG}: it "):
        settings_of_run(OmegaConf.create({"senior": str(run)}), [])


def test_too_long_name_is_not_run(refusal: Refusal) -> None:
    assert "File name too long" in refusal(watch.main, "x" * 300, "--once")


@pytest.mark.parametrize("override", ["nope=1", "steps=x"])
def test_doctor_refuses_settings_as_training_does(refusal: Refusal, override: str) -> None:
    assert override.partition("=")[0] in refusal(lambda: doctor.main(["--quick", override]))
