"""Run programs in this process, with valid and invalid input."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hydra.core.global_hydra import GlobalHydra

from launch.entry import main
from launch.help import Program
from tandem.config.schema import Config
from tandem.runtime.exit_status import BAD_INPUT
from tests.support.builders import save_model, small_tokenizer


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model folder."""
    return save_model(tmp_path_factory.mktemp("model"), small_tokenizer())


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Return a function that runs `python SCRIPT` with overrides in this process, or `program` in place of the script's."""
    GlobalHydra.instance().clear()
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def call(*overrides: str, script: str = "launch/train.py", program: Callable[[Config], None] | None = None) -> None:
        monkeypatch.setattr(sys, "argv", [script, f"log.dir={tmp_path / 'runs'}", "name=run", *overrides])
        main(Program("launch/train.py", "", (), ()), program) if program else runpy.run_path(script, run_name="__main__")

    return call


@pytest.fixture
def refused(call: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that returns the error for bad input and checks that it exits with 2 and starts or writes nothing."""

    import ray  # takes a second

    def refused(*overrides: str) -> str:
        before = set(psutil.Process().children(recursive=True))
        connected = ray.is_initialized()
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            call(*overrides)
        said = capsys.readouterr()
        assert exit_.value.code == BAD_INPUT
        assert ray.is_initialized() == connected
        assert set(psutil.Process().children(recursive=True)) <= before
        assert not (tmp_path / "runs").exists()
        assert said.err.startswith("train.py: ") and "Traceback" not in said.err
        return said.err.removeprefix("train.py: ").strip()

    return refused
