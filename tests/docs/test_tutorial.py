"""Tests of the tutorial's files: they work as described. Its training commands are tested with all runs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from launch.entry import configuration
from tandem.authors import Authors
from tandem.data.problems import load_problems
from tests.support import ROOT

pytestmark = pytest.mark.seconds

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
TITLED = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```', re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page and the dataset."""
    for path, content in TITLED.findall(PAGE):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    subprocess.run([sys.executable, *command("mine/make_problems.py")], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(holding: str) -> list[str]:
    """Return the page's first `python` command that contains a text, without the interpreter."""
    return shlex.split(next(line for line in PAGE.splitlines() if line.startswith("python ") and holding in line))[1:]


def test_verifier_judges_as_page_says(folder: Path) -> None:
    judged = subprocess.run([sys.executable, *command("tandem.verify")], capture_output=True, text=True, check=True)
    scores = [json.loads(line)["score"] for line in judged.stdout.splitlines()]
    assert scores == [1.0, 0.5, 0.0, 0.0] and "with the scores 1.0, 0.5, 0.0 and 0.0" in PAGE


def test_dataset_can_be_trained_on(folder: Path, authors: Authors) -> None:
    config = configuration(command("name=mine")[1:])
    problems = load_problems(config.data, config.seed, authors.tokenizer)
    assert len(problems.train.batch(0, config.rollout.prompts_per_step)) == 16
    assert 20 <= len(problems.held_out(1000)) <= 40


def test_file_in_conf_sets_what_command_line_did(folder: Path) -> None:
    data = configuration(command("name=mine")[1:]).data
    file = OmegaConf.load(folder / "conf" / "data" / "mine.yaml")
    assert {str(key): getattr(data, str(key)) for key in file} == file
