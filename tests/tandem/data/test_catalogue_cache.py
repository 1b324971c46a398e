"""Tests of catalogues that are kept: they are those that reading gives, and are found only for the same content."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from tandem.config.data import DataConfig
from tandem.data import catalogue_cache
from tandem.data.catalogue import ARRAYS, Catalogue
from tandem.data.problems import load_problems
from tandem.data.prompts import prompt_length, prompt_lengths
from tandem.rollout import Problem
from tests.support.builders import small_tokenizer
from tests.support.problem_files import arrow_cache, jsonl, write_jsonl, write_parquet

ROWS = [{"question": f"What is {i} + {i % 7}?" + " Think." * (i % 5), "answer": str(i + i % 7)} for i in range(2_500)]
CHAT = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
REFUSING = "{% if 'stop' in messages[0]['content'] %}{{ raise_exception('no') }}{% endif %}" + CHAT


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with arrow_cache(tmp_path_factory.mktemp("datasets")):
        yield


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep catalogues of any size; return the list of datasets that are read whole from now on."""
    monkeypatch.setattr(catalogue_cache, "SMALLEST", 1)
    read: list[str] = []

    def counted(rows: Any, *rest: Any) -> Catalogue:
        read.append(rows.key)
        return original(rows, *rest)

    original = load_problems.__globals__["catalogue"]
    monkeypatch.setitem(load_problems.__globals__, "catalogue", counted)
    return read


def tokenizer(template: str = CHAT) -> PreTrainedTokenizerBase:
    reader = deepcopy(small_tokenizer())
    reader.chat_template = template
    return reader


def loaded(data: DataConfig, cache: Path, reader: PreTrainedTokenizerBase) -> Catalogue:
    catalogue = load_problems(data, 1, reader, cache=cache).catalogue
    assert catalogue is not None
    return catalogue


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_kept_catalogue_is_the_one_that_was_read(kind: str, tmp_path: Path, reads: list[str]) -> None:
    write = {"jsonl": write_jsonl, "parquet": write_parquet}[kind]
    data = replace(jsonl(write(tmp_path / f"problems.{kind}", ROWS)), source=kind)
    first, again = (loaded(data, tmp_path / "cache", tokenizer()) for _ in range(2))
    assert len(reads) == 1
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert (again.skipped, again.unreadable, again.read) == (first.skipped, first.unreadable, first.read)
    assert again[7] == first[7]


@pytest.mark.parametrize("change", ["file", "template", "chat template", "tokenizer", "other settings", "damage"])
def test_catalogue_is_read_again_when_it_could_differ(change: str, tmp_path: Path, reads: list[str]) -> None:
    path, cache = write_jsonl(tmp_path / "problems.jsonl", ROWS), tmp_path / "cache"
    data, reader = jsonl(path), tokenizer()
    loaded(data, cache, reader)
    match change:
        case "file":
            path.write_bytes(path.read_bytes().replace(b"What is 1 +", b"What is 2 +", 1))
        case "template":
            data = replace(data, template="Solve: {question}")
        case "chat template":
            reader.chat_template += "!"
        case "tokenizer":
            reader.add_tokens(["What"])
        case "other settings":
            data = replace(data, held_out_fraction=0.2, max_prompt_tokens=63)
        case "damage":
            (kept,) = (cache / catalogue_cache.FOLDER).iterdir()
            kept.write_bytes(kept.read_bytes()[:1_000])
    loaded(data, cache, reader)
    assert len(reads) == (1 if change == "other settings" else 2)


def test_small_data_set_is_not_kept(tmp_path: Path) -> None:
    loaded(jsonl(write_jsonl(tmp_path / "problems.jsonl", ROWS)), tmp_path / "cache", tokenizer())
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("chat", [True, False])
def test_lengths_of_many_problems_are_those_of_each(chat: bool) -> None:
    """Also where the chat template refuses some of the messages."""
    readers, data = [tokenizer(REFUSING), tokenizer("{{ messages[0]['content'] }} and more")], DataConfig(chat=chat)
    problems = [Problem(str(i), ROWS[i]["question"], "1", (("user", "stop"),) if i % 3 == 0 else ()) for i in range(50)]

    def length(problem: Problem) -> int | str:
        try:
            return prompt_length(problem, readers, data)
        except ValueError as error:
            return str(error)

    for some in (problems, [problem for problem in problems if not problem.history], []):
        lengths = prompt_lengths(some, readers, data)
        assert [each if isinstance(each, int) else str(each) for each in lengths] == [length(problem) for problem in some]
