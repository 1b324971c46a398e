"""Tests of `--config FILE`: its settings are those of the same overrides, and every bad file is refused with its name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launch.command_line import CONF
from launch.config_file import composing, overrides_of, with_config_files
from launch.entry import UNUSABLE, configuration
from launch.explanations import explain
from tandem.config.schema import Config, ConfigError


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., Config]:
    """Return the configuration for a YAML text and overrides."""
    GlobalHydra.instance().clear()

    def composed(text: str, *overrides: str) -> Config:
        (file := tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return configuration(["--config", str(file), *overrides])

    return composed


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model=smollm2", "algo=grpo", "junior=[self]", "learner.lr=1e-5"),
        ("data=reasoning_gym", "data.tasks=[chain_sum]", "data.task_options={chain_sum:{max_terms:3}}", "eval=full"),
        ("name=1e5", "data=jsonl", "data.path=a: b.jsonl", "data.template='Q: {question}'", "judge.answer_pattern=\\((.+)\\)"),
    ],
)
def test_saved_configuration_gives_same_configuration(composed: Callable[..., Config], overrides: tuple[str, ...]) -> None:
    before = configuration(overrides)
    assert composed(OmegaConf.to_yaml(OmegaConf.create(asdict(before)))) == before


def test_command_line_wins_over_file_and_file_over_defaults(composed: Callable[..., Config]) -> None:
    text = "model: smollm2\nsteps: 7\nlearner: {lr: 1e-5}\n"
    config = composed(text, "steps=9")
    assert (config.model.source, config.steps, config.learner.lr) == ("smollm2", 9, 1e-5)
    assert composed(text, "model=tiny").model.source == "zoo"


def test_groups_may_stand_in_list_of_defaults(composed: Callable[..., Config]) -> None:
    assert composed("defaults:\n- algo: grpo\n- data: arith\nsteps: 3\n").algo.arm == "grpo"


def test_merge_keys_are_followed(composed: Callable[..., Config]) -> None:
    config = composed("learner:\n  <<: {lr: 1e-5}\n<<: {name: 1e5, steps: 3}\nseed: 4\n")
    assert (config.learner.lr, config.name, config.steps, config.seed) == (1e-5, "1e5", 3, 4)


@pytest.mark.parametrize(
    "text", ["1e5", "007", "1_000", "yes", "2026-01-01", "0x1F", "1.50", ".inf", "true", "null x", "${seed}"]
)
def test_text_is_taken_as_it_is_written(composed: Callable[..., Config], text: str) -> None:
    config = composed(f"name: {text}\njunior:\n- self\n- {text}\n")
    assert [config.name, *config.junior] == ["1" if text == "${seed}" else text, "self", config.name]


@given(text=st.text(st.characters(exclude_categories=["C"]), max_size=20).filter(lambda text: "${" not in text))
def test_any_text_of_file_is_passed_unchanged(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("file") / "mine.yaml"
    file.write_text(OmegaConf.to_yaml(OmegaConf.create({"data": {"system": text}})), encoding="utf-8")
    (override,) = overrides_of(file)
    key, value = _parsed(override)
    assert (key, value) == ("data.system", text)


def _parsed(override: str) -> tuple[str, Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    return parsed.key_or_group, parsed.value()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mistyped: 1", "mistyped: there is no such key"),
        ("learner: {learning_rate: 1}", "learner.learning_rate: there is no such key; did you mean learner.lr?"),
        ("- steps", "write settings, as in 'steps: 40'"),
        ("steps: [", "this is not YAML"),
        ("a: &a {b: *a}", "this is not YAML"),
        ("name: null", "name: give a text, as in name: 'NAME', or '' for none"),
        ("name: {a: b}", "name: give a text"),
        ("log: {dir: [a]}", "log.dir: give a text, as in dir: 'NAME'"),
        ("junior: [self, null]", "junior: give a text"),
        ("defaults: [algo]", "defaults: write a list of groups"),
        ("data: {task_options: {'a b': {}}}", "data.task_options: the name 'a b' must consist of letters, digits and _"),
    ],
)
def test_bad_file_is_refused_with_its_name(composed: Callable[..., Config], tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        composed(text)
    assert str(refused.value).startswith(f"--config {tmp_path / 'mine.yaml'}: {message}")


def test_bad_reference_is_no_fault_of_conf() -> None:
    with pytest.raises(OmegaConfBaseException, match="nope"), composing():
        OmegaConf.to_container(OmegaConf.create({"name": "${nope}"}), resolve=True)


def test_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="^--config /no/file.yaml: .*; name a YAML file"):
        with_config_files(["--config", "/no/file.yaml"])
    with pytest.raises(ConfigError, match="^--config: name a YAML file"):
        with_config_files(["--config"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "model/tiny.yaml: this is not YAML"),
        ("\x00", "model/tiny.yaml: this is not YAML"),
        ("[a]", "model/tiny.yaml: Merge error: .*; write settings"),
        ("shape: {}\nnope: 3", "model/tiny.yaml: model.nope: there is no such key"),
        ("recipe_seed: x", "model/tiny.yaml: model.recipe_seed: .* give a whole number"),
        ("defaults: [tiny]", "conf: these files cannot be composed: a list of defaults leads back to itself"),
        ("defaults: 3", "conf: these files cannot be composed: Invalid defaults list in 'model/tiny'"),
        ("# @package model.model\na: 3", "model/tiny.yaml: model.model: there is no such key"),
    ],
)
def test_bad_file_of_conf_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str) -> None:
    conf = shutil.copytree(CONF, tmp_path / "conf")
    (conf / "model/tiny.yaml").write_text(content)
    for module in ("command_line", "config_file", "entry", "explanations"):
        monkeypatch.setattr(f"launch.{module}.CONF", conf)
    with pytest.raises(UNUSABLE) as refused:
        configuration([])
    said = explain(refused.value)
    assert re.match(f"{tmp_path}/(conf/)?{message}", said) and "\n" not in said
