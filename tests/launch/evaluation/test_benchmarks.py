"""Several benchmarks in one evaluation: where their problems come from, and how their scores are averaged."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from launch.evaluation.benchmarks import read_benchmarks
from launch.evaluation.folder import RECORDED_SETTINGS, read_scores
from launch.storage.append import replace_lines
from tandem.authors import Authors
from tandem.config.checks.evaluation import evaluation_errors
from tandem.config.schema import Config, ConfigError
from tandem.measures.problem_sets import ProblemSets
from tandem.measures.result_rows import problem_rows
from tandem.measures.score import Score
from tandem.records.run_record import PROBLEMS, RESULT
from tests.support.problem_files import write_jsonl


def problems(count: int) -> list[dict[str, str]]:
    return [{"problem": f"Mia has {index} pens. How many?", "answer": str(index)} for index in range(count)]


@pytest.fixture
def two_sets(config: Config, tmp_path: Path) -> Config:
    """An evaluation of two benchmarks in files."""
    files = [write_jsonl(tmp_path / f"{name}.jsonl", problems(size)) for name, size in (("one", 30), ("other", 500))]
    sets = [f"aime24:{files[0]}", f"math500:{files[1]}"]
    return replace(config, eval=replace(config.eval, sets=sets, problems=40))


def test_sets_are_read_from_files_with_the_prompts_of_data(two_sets: Config, authors: Authors) -> None:
    two_sets.data.template = "Now: {question}"
    benchmarks = read_benchmarks(two_sets, authors)
    assert (benchmarks.sets.names, np.bincount(benchmarks.sets.index).tolist()) == (("aime24", "math500"), [30, 40])
    assert benchmarks.left_out.startswith("aime24: 0 problems dropped")
    assert "Now: Mia has" in authors.tokenizer.decode(benchmarks.prompts[0].token_ids)


def test_sets_of_another_size_and_unknown_names_are_refused(two_sets: Config, authors: Authors, tmp_path: Path) -> None:
    short = write_jsonl(tmp_path / "short.jsonl", problems(29))
    for entry, message in [
        (f"aime24:{short}", "data.expected_rows=30: .* has 29 lines"),
        ("aime99", r"eval.sets=\['aime99'\]: aime99 is no benchmark in conf/data/; choose among aime24, aime25, amc, math500"),
        ("arith", "arith is no benchmark"),
    ]:
        with pytest.raises(ConfigError, match=message):
            read_benchmarks(replace(two_sets, eval=replace(two_sets.eval, sets=[entry])), authors)
    twice = replace(two_sets, eval=replace(two_sets.eval, sets=["amc", "amc:x.jsonl"]))
    assert "name each set once" in " ".join(evaluation_errors(twice))


def test_scores_are_averaged_over_sets_and_kept_for_each(two_sets: Config, authors: Authors, tmp_path: Path) -> None:
    benchmarks = read_benchmarks(two_sets, authors)
    first = benchmarks.sets.index == 0
    scores = {"solo/accuracy": Score.mean_of(first), "team/word/retention@1": Score(np.ones(70), np.where(first, 0.0, 1.0))}
    averaged, by_set = benchmarks.sets.averaged(scores), benchmarks.sets.by_set(scores)
    assert averaged["solo/accuracy"].value == pytest.approx(0.5), "each set counts the same"
    assert by_set["aime24"].keys() == {"solo/accuracy"}, "there is no ratio to nothing"
    assert [part["solo/accuracy"].value for part in by_set.values()] == [1.0, 0.0]
    folder = tmp_path / "evaluation"
    folder.mkdir()
    settings = {key: value for key, value in asdict(two_sets).items() if key in RECORDED_SETTINGS}
    (folder / RESULT).write_text(json.dumps({"settings": settings, "problems": len(benchmarks.prompts)}))
    replace_lines(folder / PROBLEMS, problem_rows(benchmarks.prompts, scores, benchmarks.sets.labels))
    read = read_scores(folder, two_sets)
    assert read and read.by_set.keys() == {"aime24", "math500"} and read.scores["solo/accuracy"].value == pytest.approx(0.5)
    rows = list(problem_rows(benchmarks.prompts, scores, benchmarks.sets.labels))
    assert [rows[index]["set"] for index in (0, 29, 30)] == ["aime24", "aime24", "math500"]
    without = ProblemSets.labeled([""] * 70)
    assert without.averaged(scores) == scores and without.by_set(scores) == {} and without.labels is None
