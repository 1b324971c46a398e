"""Tests of the command `tandem`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from launch.cli import PROGRAMS, main
from launch.completion import WITH_SETTINGS, choices
from launch.entry import exit_codes
from tandem.runtime.exit_status import FAILED
from tests.support import ROOT

pytestmark = pytest.mark.seconds


def test_command_is_installed_with_package() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["tandem"].partition(":")
    assert getattr(import_module(module), function) is main


def test_command_runs_every_program() -> None:
    assert [name for name in PROGRAMS if not (ROOT / "launch" / f"{name.replace('-', '_')}.py").is_file()] == []


def test_help_lists_all_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tandem"])
    main()
    printed = capsys.readouterr().out
    assert [name for name, about in PROGRAMS.items() if name not in printed or about not in printed] == []


@pytest.mark.parametrize(("name", "remedy"), [("trian", "did you mean train?"), ("fly", "choose train or evaluate or")])
def test_unknown_program_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, remedy: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["tandem", name])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert f"tandem: {name}: there is no such program; {remedy}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("tandem ev", {"evaluate"}),
        ("tandem ", set(PROGRAMS)),
        ("tandem train algo=grpo", {"grpo", "grpo_g16"}),
        ("tandem train 'junior=[self]' --config mine.yaml learner.lora.ra", {"learner.lora.rank="}),
        ("tandem experiment preset=equal", {"equal_dialects"}),
        ("tandem experiment see", {"seed=", "seeds="}),
        ("tandem report ru", set()),
        ("tandem train data.path=./", set()),
    ],
)
def test_bash_completes_what_is_typed(line: str, replies: set[str], tmp_path: Path) -> None:
    """Bash keeps what stands before a `=`. Paths are left to it, and no name of a file is executed."""
    (tmp_path / "$(touch executed).jsonl").touch()
    script = f"""
        here() {{ {shlex.quote(sys.executable)} -m launch.cli "$@"; }}
        eval "$(here completion)"
        COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}
        _tandem here
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    completed = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert set(completed.stdout.split()) == replies
    assert completed.stderr == "" and len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def _own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore what `choices` sets in the process, which ends after it."""
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setenv("COMP_LINE", "")


@pytest.mark.usefixtures("_own_process")
def test_words_after_cursor_do_not_matter() -> None:
    line = "tandem train algo=gr seed=3"
    assert choices(line, str(line.index(" seed")), " =") == ["grpo", "grpo_g16"]


@pytest.mark.usefixtures("_own_process")
@pytest.mark.parametrize("program", WITH_SETTINGS)
def test_settings_of_program_are_completed(program: str) -> None:
    line = f"tandem {program} rollout.group"
    assert choices(line, str(len(line)), "") == ["rollout.group_size="]


def test_arguments_are_those_of_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tandem", "watch", "--once", "missing"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err.startswith("watch.py: missing: not a run folder")


@pytest.mark.parametrize(("output", "code"), [("| true", FAILED), (">&-", 0), (">/dev/null", 0)])
def test_output_that_nobody_reads_ends_without_traceback(output: str, code: int) -> None:
    command = f"(sleep 0.2; exec {sys.executable} launch/train.py --help) {output}; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (code, "")


def test_broken_connection_inside_run_is_no_closed_output() -> None:
    with pytest.raises(BrokenPipeError), exit_codes():
        raise BrokenPipeError
