"""launch/experiments/evaluations.py: which evaluations are missing, and what becomes of their results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from launch.evaluation.folder import RECORDED_SETTINGS
from launch.experiments.comparison import check_same_settings, report, run_experiment
from launch.experiments.evaluations import BASE, SECONDS, Evaluated, Evaluation, interval_method, read_evaluated
from launch.experiments.page import measure_tables
from launch.experiments.preset import Experiment, parse_experiment
from launch.experiments.results import read_results
from launch.terminal import terminal_console
from tandem.config.schema import ConfigError
from tandem.measures.bootstrap import METHOD, METHOD_OF_FEW_SEEDS
from tandem.records.run_record import PROBLEMS, RESULT
from tests.support.experiment_runs import make_run

pytestmark = pytest.mark.seconds

GAINS = {BASE: 0.0, "tandem": 0.3, "grpo": 0.29, "kl_junior": 0.3}
P = 100


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = tmp_path_factory.mktemp("equal")
    return parse_experiment(["preset=equal_dialects", "seeds=4", f"log.dir={folder}", f"results={folder / 'results'}"])


def write_evaluation(evaluation: Evaluation, sets: tuple[str, str] | None = None) -> None:
    """The folder of an evaluation, as far as an experiment reads it; a quarter of the problems are of the first of `sets`."""
    evaluation.path.mkdir(parents=True, exist_ok=True)
    settings = json.loads(
        json.dumps({key: value for key, value in asdict(evaluation.config).items() if key in RECORDED_SETTINGS})
    )
    (evaluation.path / RESULT).write_text(json.dumps({"settings": settings, "problems": P}))
    (evaluation.path / SECONDS).write_text("60.5")
    random = np.random.default_rng(evaluation.seed)
    solved, noise = random.uniform(0.2, 0.6, P), random.normal(0, 0.01)
    tandem = evaluation.arm == "tandem"
    rows = [
        {
            **({"set": sets[index >= P // 4]} if sets else {}),
            "id": str(index),
            "scores": {
                "solo/accuracy": [value + GAINS[evaluation.arm] + noise, 1.0],
                "team/step_alternating/accuracy": [0.4 + 0.3 * tandem + noise, 1.0],
                "team/step_alternating/retention@1": [0.5 + 0.4 * tandem, value + 0.3],
                "drift/kl_senior_junior": [3.0 - 2 * tandem + noise, 20.0],
                "legibility/senior_text": [6.0 - 2 * tandem + noise, 20.0],
                "legibility/junior_text": [2.0, 20.0],
                "solo/absent": [0.0, 0.0],
            },
        }
        for index, value in enumerate(solved)
    ]
    (evaluation.path / PROBLEMS).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_senior_and_every_base_model_is_evaluated_with_its_seed(described: Experiment) -> None:
    names = [(each.name, each.arm, each.seed) for each in described.evaluations]
    assert names == [
        (name, arm, seed) for name in ("temperature_1", "published") for seed in (1, 2, 3, 4) for arm in (BASE, *described.arms)
    ]
    for each in described.evaluations:
        assert each.config.seed == each.config.model.recipe_seed == each.seed
        assert each.config.eval.problems == 500 and each.config.eval.samples == 4
        assert each.config.senior == ("" if each.arm == BASE else str(described.folder / f"{each.arm}-seed{each.seed}"))
    assert len({each.path for each in described.evaluations}) == len(names)


def test_command_line_reaches_evaluations_too() -> None:
    found = parse_experiment(["preset=equal_dialects", "seeds=1", "eval.problems=7", "arms=tandem,kl_junior"])
    configs = [run.config for run in found.runs] + [evaluation.config for evaluation in found.evaluations]
    assert {config.eval.problems for config in configs} == {7}
    assert found.endpoints == (), "an endpoint needs both of its arms"
    with pytest.raises(ConfigError, match="^evaluation temperature_1: eval.pass_at=.* eval.samples=2"):
        parse_experiment(["preset=equal_dialects", "seeds=1", "eval.samples=2"])


def test_only_missing_evaluations_are_made_and_verdicts_follow(described: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in described.runs:
        make_run(run)
    made: list[Evaluation] = []
    interrupted_after = 5

    def make(evaluation: Evaluation, _: object) -> None:
        if len(made) == interrupted_after:
            raise KeyboardInterrupt
        write_evaluation(evaluation)
        made.append(evaluation)

    monkeypatch.setattr("launch.experiments.comparison.evaluations.run_evaluation", make)
    monkeypatch.setattr("launch.experiments.comparison.ray_cluster", lambda logs: nullcontext())
    monkeypatch.setattr("launch.experiments.comparison.draw_experiment", lambda results: Figure())  # it takes a second
    with pytest.raises(KeyboardInterrupt):
        run_experiment(described, terminal_console())
    assert [each.finished for each in described.evaluations] == [True] * 5 + [False] * 27
    interrupted_after = 0
    run_experiment(described, terminal_console())
    assert made == list(described.evaluations), "none is made twice"
    numbers = json.loads((described.results / "equal_dialects" / "results.json").read_text())
    words = {verdict["endpoint"]["name"]: verdict["verdict"] for verdict in numbers["verdicts"]}
    assert words == {
        "solo parity": "shown",
        "handoff by steps, and its retention": "shown",
        "KL(senior, junior)": "shown",
        "junior's cross-entropy above its floor": "shown",
    }
    for name in ("temperature_1", "published"):
        assert Image.open(described.results / "equal_dialects" / f"evaluation-{name}.png").size[0] > 1000
    base = numbers["evaluations"]["published"][BASE]["solo/accuracy"]
    assert base["low"] < base["value"] < base["high"] and set(base["seeds"]) == {"1", "2", "3", "4"}
    page = (described.results / "equal_dialects.md").read_text()
    assert "| solo parity: tandem within ±0.03 of grpo | solo +0.010 ± 0.000 | 0.000 | 1.000 | shown |" in page
    method = "hierarchical bootstrap over seeds and problems, 95 %; below 6 seeds at least as wide as Student's t"
    assert numbers["evaluation_interval"] == method and page.count(f"Intervals: {method}.") == 2
    assert "## Evaluation `published`" in page and "| cross-entropy above own text | 0.200" in page


def test_evaluation_with_other_settings_is_missing(described: Experiment) -> None:
    evaluation = described.evaluations[0]
    write_evaluation(evaluation)
    other = replace(evaluation, config=replace(evaluation.config, eval=replace(evaluation.config.eval, samples=8)))
    assert evaluation.finished and not other.finished


@pytest.mark.parametrize(
    ("arm", "other", "method"),
    [
        ({1: "a", 2: "a"}, {}, METHOD_OF_FEW_SEEDS),
        ({1: "a"}, {1: "a", 2: "b"}, METHOD),
        (dict.fromkeys(range(6), "a"), dict.fromkeys(range(8), "a"), METHOD),
        (dict.fromkeys(range(8), "a"), dict.fromkeys(range(5, 15), "a"), METHOD_OF_FEW_SEEDS),
    ],
)
def test_label_of_intervals_names_few_seeds_where_there_are(arm: dict[int, str], other: dict[int, str], method: str) -> None:
    values = {name: {seed: {key: np.zeros(2)} for seed, key in each.items()} for name, each in (("x", arm), ("y", other))}
    assert interval_method([Evaluated({}, P), Evaluated(values, P)]) == method


def test_benchmarks_have_tables_of_their_own(tmp_path: Path) -> None:
    described = parse_experiment(["preset=equal_dialects", "seeds=1", f"log.dir={tmp_path}", f"results={tmp_path}"])
    for run in described.runs:
        make_run(run)
    for evaluation in described.evaluations:
        write_evaluation(evaluation, sets=("aime24", "math500"))
    results = report(described, described.runs)
    assert (tmp_path / "equal_dialects.md").read_text().count("On aime24, 25 problems:\n\n|  | base | tandem |") == 2
    evaluated = results.evaluated["temperature_1"]
    parts = evaluated.by_set
    assert {name: part.problems for name, part in parts.items()} == {"aime24": 25, "math500": 75}
    overall, *of_sets = [found.values["tandem"][1]["solo/accuracy"][0] for found in (evaluated, *parts.values())]
    assert overall == pytest.approx(np.mean(of_sets)), "each benchmark counts the same"
    (header, *rows), _ = measure_tables(results, parts["aime24"])
    assert header[1:] == ["base", "tandem", "grpo", "kl_junior"] and rows[0][0] == "solo"


def test_measure_without_any_weight_is_left_out(described: Experiment) -> None:
    write_evaluation(described.evaluations[0])
    found = read_evaluated(described.evaluations[:1])["temperature_1"]
    assert "solo/absent" not in found.measures and found.problems == P
    assert found.difference(BASE, "grpo", "solo/accuracy") is None


# Damaged files

NOISE = bytes(range(255, -1, -1)) + b"\n"
DAMAGES = (NOISE, b"", b"{", b"[]\n", b"null\n", b'"x"\n', b"{}\n", b'{"id": 1, "step": "one", "state": 3}\n', None)
"""The last one removes the file."""
OF_RUN = ("config.yaml", "metrics.jsonl", "outcome.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An experiment of one run and its evaluations."""
    folder = tmp_path_factory.mktemp("finished")
    described = parse_experiment(
        ["preset=equal_dialects", "seeds=1", "arms=tandem", f"log.dir={folder}", f"results={folder / 'results'}"]
    )
    for run in described.runs:
        make_run(run)
    for evaluation in described.evaluations:
        write_evaluation(evaluation)
    return described


def read_all(experiment: Experiment) -> None:
    """Read what an experiment reads of its runs and evaluations."""
    for run in experiment.runs:
        check_same_settings(run)
        assert run.finished or not (run.path / "outcome.json").exists()
    assert read_results(experiment, experiment.runs).verdicts == []
    assert experiment.evaluation_minutes >= 0


@pytest.fixture
def file(finished: Experiment, request: pytest.FixtureRequest) -> Iterator[Path]:
    """One of the files, whole again at the end."""
    folder = finished.runs[0].path if request.param in OF_RUN else finished.evaluations[1].path
    whole = (folder / request.param).read_bytes()
    yield folder / request.param
    (folder / request.param).write_bytes(whole)


@pytest.mark.parametrize("file", [*OF_RUN, PROBLEMS, RESULT, str(SECONDS)], indirect=True)
def test_damaged_file_of_finished_experiment_is_named(finished: Experiment, file: Path) -> None:
    read_all(finished)
    for content in DAMAGES:
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        missing = content is None and file.name in ("config.yaml", "outcome.json", RESULT, str(SECONDS))
        others = (
            file.name == RESULT and content is not None and content.endswith(b"}\n")
        )  # an evaluation with other settings is made again
        with (
            nullcontext() if missing or others else pytest.raises(ConfigError, match=f"{file.parent}.*; (re|choose)") as refusal
        ):
            read_all(finished)
        assert refusal is None or "\n" not in str(refusal.value)


@pytest.mark.parametrize("file", ["metrics.jsonl", "outcome.json", PROBLEMS, RESULT], indirect=True)
def test_shortened_file_of_finished_experiment_is_named(finished: Experiment, file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    for kept in (lines[:-1], lines[: len(lines) // 2], [*lines[:-1], lines[-1][:-3]]):
        file.write_bytes(b"".join(kept))
        with pytest.raises(ConfigError, match=f"^{file}: .*; re"):
            read_all(finished)
