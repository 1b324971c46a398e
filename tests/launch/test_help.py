"""Tests of --help: every program documents itself and its settings, in terminals of any width."""

from __future__ import annotations

import re
import runpy
import sys
from unittest.mock import patch

import pytest

from launch.command_line import CONF
from launch.experiments.preset import PRESETS, read_preset
from launch.help import Program, print_help
from launch.terminal import terminal_console
from tandem.config.schema import SETTINGS, ConfigError
from tests.support import ROOT

PROGRAMS = ("train", "evaluate", "serve", "write", "difficulty", "experiment")


def about(program: str) -> Program:
    """Return what a program says about itself."""
    names = runpy.run_path(str(ROOT / "launch" / f"{program}.py"))
    described: Program = names["ABOUT"] if "ABOUT" in names else names["about"]()
    return described


def printed(program: str, *arguments: str, width: int = 120) -> str:
    """Return the help that a program prints."""
    console = terminal_console(width=width, record=True, file=sys.stdout)
    with patch("launch.help.terminal_console", return_value=console):
        print_help(about(program), arguments)
    return console.export_text()


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_shows_settings_groups_and_examples(program: str) -> None:
    described, text = about(program), printed(program)
    assert described.about in text and f"usage: python {described.file}" in text
    assert [key for key in described.common if f"{key}=" not in text] == []
    assert [name for name in ("smollm2", "grpo", "jsonl", "--config FILE") if name not in text] == []
    assert all(f"python {described.file} {example}" in text for example in described.examples)
    assert "Hydra" not in text and "hydra" not in text


def test_defaults_are_shown_as_one_types_them() -> None:
    text = printed("train")
    assert all(f"{setting} " in text for setting in ("plan_only=false", "junior=[self]", "model.path=", "steps=60"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_keys_and_groups_of_help_exist(program: str) -> None:
    described = about(program)
    own = {typed.partition("=")[0] for _, rows in described.own for typed in rows}
    assert [key for key in described.common if key not in SETTINGS] == []
    for example in described.examples:
        for key, value in re.findall(r"(?:^| )'?([a-z_.]+)=(\w*)", example):
            assert key in SETTINGS or key in own or (CONF / key / f"{value}.yaml").exists()


def test_help_of_experiment_shows_its_arguments_and_presets() -> None:
    text = printed("experiment")
    assert all(f"{argument}=" in text for argument in ("preset", "seeds", "arms", "name", "results"))
    assert [
        path.stem for path in PRESETS.glob("*.yaml") if path.stem not in text or read_preset(path.stem).title not in text
    ] == []


def test_help_for_section_shows_all_its_settings() -> None:
    text = printed("train", "--help", "learner.lora", "seed")
    assert all(key in text for key in SETTINGS if key.startswith("learner.lora.") or key == "seed")
    assert "learner.ranks" not in text


@pytest.mark.parametrize("option", [("--config", "mine.yaml"), ("--cfg", "job")])
def test_value_of_option_is_no_setting(option: tuple[str, str]) -> None:
    assert printed("train", *option, "--help") == printed("train", "--help")


def test_help_for_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="^--help learning_rate: there is no such key; did you mean learner.lr?"):
        printed("train", "--help", "learning_rate")


def test_nothing_is_cut_off_in_narrow_terminal() -> None:
    words = printed("train", width=60).split()
    assert [key for key in about("train").common if not any(word.startswith(f"{key}=") for word in words)] == []
