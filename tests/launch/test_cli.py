"""Tests of the command `tandem`."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from importlib import import_module

import pytest

from launch.cli import PROGRAMS, main
from tests.support import ROOT


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
    ("typed", "choices"),
    [
        (["ev"], {"evaluate"}),
        ([""], set(PROGRAMS)),
        (["train", "algo=grpo"], {"algo=grpo", "algo=grpo_g16"}),
        (["evaluate", "seed=3", "learner.lora.ra"], {"learner.lora.rank="}),
        (["report", "ru"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bash_completes_what_is_typed(typed: list[str], choices: set[str]) -> None:
    script = f"""
        tandem() {{ {shlex.quote(sys.executable)} -m launch.cli "$@"; }}
        eval "$(tandem completion)"
        COMP_WORDS=({shlex.join(["tandem", *typed])})
        COMP_CWORD={len(typed)}
        _tandem
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    completed = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(completed.stdout.split()) == choices
    assert completed.stderr == ""


def test_arguments_are_those_of_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tandem", "watch", "--once", "missing"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err.startswith("watch.py: missing: not a run folder")
