"""Tests of the report: its content, its safety against texts of models, its size and speed."""

from __future__ import annotations

import json
import math
import re
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from launch.evaluation.other_author import score_turns
from launch.report_page.page import report_page, script_data
from launch.storage.loggers import samples_table
from tandem.authors import Authors
from tandem.measures.legibility import Pace
from tandem.records.json_files import LogReader
from tandem.records.run_record import read_run
from tests.support.run_folders import HOSTILE, PER_STEP, make_run

texts = st.lists(st.sampled_from([*HOSTILE, "<", "!--", "script", "/", ">", "\\", '"', "\n"]) | st.text(max_size=4)).map(
    "".join
)


class Page(HTMLParser):
    """Parser of a page: its elements, and the text of its scripts by type."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self._script = dict(attributes).get("type") or "program" if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    @property
    def data(self) -> Any:
        """Return the data in the page."""
        return json.loads(self.scripts["application/json"])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "first", steps=4, texts=HOSTILE)


# Content


def test_page_has_curves_configuration_and_evaluations(run: Path) -> None:
    ((shown,), record) = Page(report_page([read_run(run)])).data["runs"], read_run(run)
    assert shown["name"] == "first"
    assert shown["metrics"]["reward/mean"] == [[row["step"], row["reward/mean"]] for row in record.metrics[1:]]
    assert shown["metrics"]["solo/accuracy"] == [[0, 0.5], [4, 0.7]]
    assert shown["config"]["steps"] == 4 and shown["config"]["rollout.sampling.max_tokens"] == 96
    (table,) = shown["evaluations"]
    assert [row[0] for row in table["rows"]] == [0, 4]
    for _, problems, estimate in table["rows"]:
        assert problems == 400 and estimate["low"] < estimate["value"] < estimate["high"]


def test_page_names_the_best_senior(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs" / "first", steps=4, texts=HOSTILE)
    (folder / "best" / "step-000004").mkdir(parents=True)
    record = read_run(folder)
    selected = replace(record, config=record.config | {"eval.select": "solo/accuracy"})
    (table,) = Page(report_page([selected])).data["runs"][0]["evaluations"]
    assert table["note"].endswith("; best/step-000004 is the best senior by solo/accuracy")


def test_page_has_tables_of_evaluations(run: Path) -> None:
    scores = {"solo/accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}, "drift": {"value": math.nan, "low": 0.2, "high": 0.3}}
    found = {"senior": "base", "problems": 400, "settings": {"eval": {"confidence": 0.95}}, "notes": ["no legibility"]}
    (folder := run / "evaluation" / "full").mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(found | {"scores": scores}))
    _, table = Page(report_page([read_run(run)])).data["runs"][0]["evaluations"]
    assert (table["title"], table["note"]) == ("Evaluation full", "400 problems; base; 95% intervals; no legibility")
    assert table["rows"] == [["solo/accuracy", scores["solo/accuracy"]], ["drift", {"value": None, "low": 0.2, "high": 0.3}]]


def test_page_has_every_token_of_every_rollout(run: Path) -> None:
    shown, kept = Page(report_page([read_run(run)])).data["rollouts"], read_run(run).samples
    assert len(shown) == len(kept) == 4 * PER_STEP + 4
    for rollout, its in zip(shown, kept, strict=True):
        assert (rollout["run"], rollout["id"], rollout["verdict"]) == (0, its["id"], its["verdict"])
        assert [turn["tokens"] for turn in rollout["turns"]] == [turn["tokens"] for turn in its["turns"]]
        assert [turn["logprobs"] for turn in rollout["turns"]] == [turn["logprobs"] for turn in its["turns"]]


def test_page_refers_to_no_other_file(run: Path) -> None:
    page = report_page([read_run(run)])
    style, program = re.search(r"<style>(.*?)</style>", page, re.DOTALL), Page(page).scripts["program"]
    assert style and not re.search(r"url\(|@import", style[1])
    assert "link" not in Page(page).elements and "src=" not in page.partition('<script type="application/json"')[0]
    assert not re.search(
        r"\b(fetch|XMLHttpRequest|import|eval\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write)", program
    )
    assert "default-src 'none'" in page


# Texts of models


@given(value=st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8))
def test_no_text_closes_script_element(value: Any) -> None:
    page = Page(f'<i></i><script type="application/json">{script_data(value)}</script><b></b>')
    assert page.elements == ["i", "script", "b"]
    assert page.data == value


@given(text=texts)
def test_no_text_becomes_element_in_loggers(text: str) -> None:
    told = {"step": 1, "problem": text, "verdict": "wrong", "turns": [{"author": "senior", "text": text}]}
    assert set(Page(samples_table([told])).elements) <= {"table", "thead", "tbody", "tr", "th", "td", "span", "br"}


def test_name_of_run_is_escaped(tmp_path: Path) -> None:
    page = Page(report_page([read_run(make_run(tmp_path / "<script>alert(1)<b>", steps=1))]))
    assert page.elements.count("script") == 2 and "b" not in page.elements


# Reading run folders


def test_incomplete_line_is_read_later(tmp_path: Path) -> None:
    lines = LogReader(path := tmp_path / "metrics.jsonl")
    assert list(lines.new()) == []
    path.write_text('{"step": 0}\n{"st')
    assert list(lines.new()) == [{"step": 0}]
    path.write_text('{"step": 0}\n{"step": 1, "grad/norm": NaN}\n')
    assert list(lines.new()) == [{"step": 1, "grad/norm": None}]
    path.write_text('{"step": 7}\n')
    assert list(lines.new()) == [{"step": 7}], "a replaced file is read again"


def test_running_run_has_report(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "reward/me')
    (run / "samples.jsonl").unlink()
    data = Page(report_page([read_run(run)])).data
    assert data["rollouts"] == [] and len(data["runs"][0]["metrics"]["reward/mean"]) == 4


def test_repeated_step_counts_once(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "reward/mean": 0.125}\n')
    with (run / "samples.jsonl").open("a") as file:
        file.write(json.dumps(read_run(run).samples[-1] | {"reward": 0.25}) + "\n")
    record = read_run(run)
    assert [row["step"] for row in record.metrics] == [0, 1, 2, 3, 4] and record.metrics[3]["reward/mean"] == 0.125
    assert len(record.samples) == 4 * PER_STEP + 4 and record.samples[-1]["reward"] == 0.25


# The command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run launch/report.py with arguments in this process."""

    def command(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["launch/report.py", *map(str, arguments)])
        runpy.run_path("launch/report.py", run_name="__main__")

    return command


def test_report_is_written_in_run_folder(run: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(run)
    assert str(run / "report.html") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folders", "names"),
    [(["."], ["first", "second"]), (["second", "first"], ["second", "first"]), (["first", "."], ["first", "second"])],
)
def test_folder_of_runs_stands_for_its_runs(
    run: Path, command: Callable[..., None], folders: list[str], names: list[str]
) -> None:
    make_run(run.parent / "second", steps=1)
    command(*(run.parent / folder for folder in folders))
    page = Page((run.parent / "report.html").read_text()).data
    assert [shown["name"] for shown in page["runs"]] == names
    assert {rollout["run"] for rollout in page["rollouts"]} == {0, 1}


@pytest.mark.parametrize("arguments", [["nowhere"], ["--score", "RUN"]])
def test_unusable_folders_are_refused_in_one_line(
    run: Path, command: Callable[..., None], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(*(run if argument == "RUN" else argument for argument in arguments))
    assert re.fullmatch("report.py: .*(neither a run folder|needs the final senior).*\n", capsys.readouterr().err)


@pytest.mark.seconds
def test_page_of_ten_thousand_rollouts_is_small(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "long", steps=10_000 // PER_STEP)
    begun = time.process_time()
    page = report_page([read_run(folder)])
    assert len(page) < 15 * 2**20
    assert time.process_time() - begun < 20


# Scores


def test_turns_of_one_author_have_logprobs_of_other(authors: Authors) -> None:
    prompt, temperature = authors.tokenizer.encode("Mia has 46 pens."), 0.7
    samples: list[Any] = [
        {
            "prompt_ids": prompt[:cut],
            "turns": [{"author": author, "token_ids": authors.tokenizer.encode(text)} for author, text in turns],
        }
        for cut, turns in [
            (3, [("junior", "Start with"), ("senior", " 46.\n")]),
            (2, [("senior", "46")]),
            (len(prompt), [("junior", "Take 3: 46"), ("senior", " - 3 = 43"), ("junior", ".\nThe answer")]),
        ]
    ]
    score_turns(samples, "junior", authors.senior, temperature, Pace(batch_tokens=40, chunk_tokens=8))
    model = AutoModelForCausalLM.from_pretrained(authors.senior)
    for sample in samples:
        read = list(sample["prompt_ids"])
        for turn in sample["turns"]:
            assert ("other_logprobs" in turn) == (turn["author"] == "junior")
            for index, token in enumerate(turn["token_ids"]):
                with torch.no_grad():
                    expected = torch.log_softmax(model(torch.tensor([read])).logits[0, -1] / temperature, -1)[token]
                if turn["author"] == "junior":
                    assert turn["other_logprobs"][index] == pytest.approx(expected.item(), abs=6e-5), "rounded"
                read.append(token)
