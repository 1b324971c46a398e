"""Tests of datasets of the hub and their recipes; a folder with the same layout replaces the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore

from launch.command_line import CONF
from tandem.config.data import DataConfig
from tandem.config.load import load, schema
from tandem.config.schema import Config, ConfigError
from tandem.data.problems import load_problems
from tests.support.problem_files import SUMS, arrow_cache, write_jsonl, write_parquet

PROBLEMS = [{"problem": row["question"], "answer": str(row["answer"]), "solution": "Add."} for row in SUMS]
PUBLISHED = (
    "{question} Solve the following math problem step by step. Put your final answer inside \\boxed{}, like \\boxed{42} or "
    "\\boxed{\\frac{1}{2}}."
)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with arrow_cache(tmp_path_factory.mktemp("datasets")):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset with two splits, in the layout of the hub."""
    write_parquet(tmp_path / "sums" / "train.parquet", PROBLEMS)
    write_parquet(tmp_path / "sums" / "test.parquet", PROBLEMS[:5])
    return tmp_path / "sums"


def hub(path: Path | str, **fields: object) -> DataConfig:
    return DataConfig(source="hub", path=str(path), question_field="problem", **fields)  # type: ignore[arg-type]


def composed(*overrides: str) -> Config:
    ConfigStore.instance().store(name="schema", node=schema())
    with initialize_config_dir(str(CONF), version_base=None):
        return load(compose("config", overrides=["model=hf", "model.path=x", *overrides]))


def recipe(*overrides: str) -> DataConfig:
    return composed(*overrides).data


def test_split_and_json_lines_hold_same_problems(folder: Path, tmp_path: Path) -> None:
    lines = DataConfig(source="jsonl", path=str(write_jsonl(tmp_path / "sums.jsonl", PROBLEMS)), question_field="problem")
    theirs, ours = load_problems(hub(folder), 1), load_problems(lines, 1)
    assert theirs.held_out(40) == ours.held_out(40)
    assert theirs.train.batch(3, 8) == ours.train.batch(3, 8)
    assert len(load_problems(hub(folder, split="test", evaluation_only=True), 1).held_out(40)) == 5


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"split": "validation"}, "data.split=validation: cannot be read (Unknown split"),
        ({"subset": "hard"}, "data.subset=hard data.split=train: cannot be read (BuilderConfig 'hard' not found"),
    ],
)
def test_missing_split_or_column_is_refused(folder: Path, fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"data.path={folder} {reason}")):
        load_problems(hub(folder, **fields), 1)


def test_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(.*correct the name, go online once, or name a folder"):
        load_problems(hub(tmp_path), 1)


def test_unreachable_data_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"data\.path=no/such data\.split=train: cannot be read \(.*go online once"):
        load_problems(hub("no/such"), 1)


def test_deepscaler_trains_on_problems_not_held_out(folder: Path) -> None:
    data = recipe("data=deepscaler", f"data.path={folder}", "data.held_out_problems=10")
    problems = load_problems(data, 1)
    held, trained = problems.held_out(100), problems.train.batch(0, 30)
    assert (len(held), data.template) == (10, PUBLISHED)
    assert {problem.question for problem in held}.isdisjoint(problem.question for problem in trained)
    assert recipe("data=deepscaler").held_out_problems == 1000


SIZES = {"aime24": 30, "aime25": 30, "amc": 40, "minerva": 272, "olympiad": 674, "math500": 500}


@pytest.mark.parametrize("name", SIZES)
def test_benchmarks_are_for_evaluation_only_and_have_their_size(name: str, folder: Path) -> None:
    fields = ["data.subset=''", "data.question_field=problem", "data.answer_field=answer"]
    data = recipe(f"data={name}", f"data.path={folder}", "data.split=test", *fields)
    with pytest.raises(ConfigError, match=rf"^data.expected_rows={SIZES[name]}: .* has 5 rows; name the whole dataset"):
        load_problems(data, 1)
    data = replace(data, expected_rows=5)
    problems = load_problems(data, 1)
    assert (len(problems.held_out(100)), data.template) == (5, PUBLISHED)
    with pytest.raises(ConfigError, match="evaluation only"):
        problems.train.batch(0, 1)


def test_verl_data_keeps_prompts_unchanged(tmp_path: Path) -> None:
    rows = [
        {"prompt": [{"role": "user", "content": row["question"]}], "reward_model": {"ground_truth": str(row["answer"])}}
        for row in SUMS
    ]
    path = write_parquet(tmp_path / "train.parquet", rows)
    data = recipe("data=verl", f"data.path={path}")
    texts = DataConfig(source="jsonl", path=str(write_jsonl(tmp_path / "sums.jsonl", SUMS)))
    assert load_problems(data, 1).held_out(40) == load_problems(texts, 1).held_out(40)
    assert data.template == "{question}"


@pytest.mark.parametrize("key", ["data.path", "data.held_out_path", "data.pass_rates", "model.path"])
def test_tilde_in_path_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = composed("data=jsonl", f"{key}='~/x y.jsonl'")
    assert attrgetter(key)(config) == f"{tmp_path}/x y.jsonl"
