"""The results of an experiment: values over seeds, tables, figure and page."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from PIL import Image

from launch.experiments.comparison import report
from launch.experiments.figure import draw_experiment
from launch.experiments.page import READING, measure_tables, terminal
from launch.experiments.preset import Experiment
from launch.experiments.results import ExperimentResults, read_results
from tandem.measures.estimates import mean_over_seeds
from tandem.measures.names import ACCURACY, FLOOR, LEGIBILITY, TITLES, shown, title
from tests.support.experiment_runs import MEASURES, STEPS, make_run, value

pytestmark = pytest.mark.seconds


@pytest.fixture
def results(compared: Experiment) -> ExperimentResults:
    for run in compared.runs:
        make_run(run)
    return read_results(compared, compared.runs)


def test_values_are_gathered_over_seeds(results: ExperimentResults) -> None:
    assert results.arms == ["tandem", "grpo", "kl_reg"] and results.problems == 300
    assert set(results.measures) == set(MEASURES), "nothing but measures"
    for arm in results.arms:
        assert list(results.curve(arm, FLOOR)) == list(STEPS)
        for step, found in results.curve(arm, LEGIBILITY).items():
            expected = mean_over_seeds([value(arm, seed, step, LEGIBILITY) for seed in (1, 2, 3)])
            assert asdict(found) == pytest.approx(asdict(expected))
    assert results.seconds == {arm: [160.0] * 3 for arm in results.arms}


def test_differences_are_paired_by_seed(results: ExperimentResults) -> None:
    gap = results.difference("tandem", "grpo", ACCURACY)
    assert gap is not None and gap.low is not None
    assert gap.value == pytest.approx(0.09) and gap.low == pytest.approx(0.09), "what seeds share is no uncertainty"


def test_tables_contain_measures(results: ExperimentResults) -> None:
    (header, *rows), differences = measure_tables(results)
    assert header == ["", "start", "tandem", "grpo", "kl_reg"]
    assert rows[0] == ["solo", "0.320 ± 0.025", "0.380 ± 0.025", "0.290 ± 0.025", "0.290 ± 0.025"]
    assert [row[0] for row in rows] == list(MEASURES.values())
    assert differences[1] == ["solo", "+0.090 ± 0.000", "+0.090 ± 0.000"]
    assert [len(table.rows) for table in terminal(results)] == [len(MEASURES)] * 2


def test_seed_that_stopped_early_counts_with_its_own_end(results: ExperimentResults) -> None:
    whole = results.at_end("tandem", ACCURACY)
    del results.values["tandem"][1][STEPS[-1]]
    stopped, gap = results.at_end("tandem", ACCURACY), results.difference("tandem", "grpo", ACCURACY)
    assert whole and stopped and gap and stopped.low is not None
    lost = value("tandem", 1, STEPS[-1], ACCURACY) - value("tandem", 1, STEPS[-2], ACCURACY)
    assert stopped.value == pytest.approx(whole.value - lost / 3) and gap.value == pytest.approx(0.09 - lost / 3)


def test_missing_seed_does_not_hide_others(compared: Experiment) -> None:
    for run in compared.runs[:2]:
        make_run(run)
    found = read_results(compared, compared.runs[:2])
    assert found.arms == ["tandem", "grpo"]
    assert measure_tables(found)[0][1][2] == "0.370", "one seed has no interval"
    draw_experiment(found)


def test_figure_has_panel_for_each_measure(results: ExperimentResults) -> None:
    figure = draw_experiment(results)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    names = list(shown(results.measures).values())
    assert titles == [name for name in names if name not in (TITLES[FLOOR], "solo, pass@4")] + ["solo against legibility"]
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == results.arms
    assert lines[0].get_ydata() == pytest.approx([value("tandem", 2, step, ACCURACY) for step in STEPS])
    looks = {(line.get_color(), line.get_marker()) for line in lines}
    assert len(looks) == 3
    frontier = figure.axes[len(titles) - 1].get_lines()[0]
    assert frontier.get_xdata() == pytest.approx([value("tandem", 2, step, LEGIBILITY) for step in STEPS])


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("solo/pass@8", "solo, pass@8"),
        ("team/step_alternating/accuracy", "team, by steps"),
        ("team/chunk_alternating_chunk_tokens=4/pass@2", "team, by chunks (chunk_tokens=4), pass@2"),
        ("team/alternate/retention@1", "retention, by alternating words"),
        ("team/word/retention@4", "retention@4, by words"),
        ("junior_alone/greedy", "junior alone, greedy"),
        ("takeover/25%", "junior after 25 % of the solution"),
        ("acceptance/rate", "acceptance"),
        ("solo/tokens", ""),
        ("team/word/senior_share", ""),
    ],
)
def test_measures_have_titles(measure: str, expected: str) -> None:
    assert title(measure) == expected


def test_measures_are_shown_by_author() -> None:
    measures = ["acceptance/rate", "takeover/50%", "solo/accuracy", "junior_alone/greedy", "team/word/accuracy", "solo/tokens"]
    assert list(shown(measures)) == [
        "solo/accuracy",
        "team/word/accuracy",
        "junior_alone/greedy",
        "takeover/50%",
        "acceptance/rate",
    ]


def test_missing_measure_has_no_panel(results: ExperimentResults) -> None:
    kept = {
        arm: {seed: {step: {ACCURACY: each[ACCURACY]} for step, each in steps.items()} for seed, steps in seeds.items()}
        for arm, seeds in results.values.items()
    }
    figure = draw_experiment(replace(results, values=kept))
    assert [axes.get_title() for axes in figure.axes] == ["solo"]


def test_results_page_is_complete_and_keeps_interpretation(compared: Experiment, results: ExperimentResults) -> None:
    report(compared, compared.runs)
    page, folder = compared.results / "jargon.md", compared.results / "jargon"
    numbers = json.loads((folder / "results.json").read_text())
    assert numbers["values"]["grpo"]["2"]["40"][ACCURACY] == value("grpo", 2, 40, ACCURACY)
    assert numbers["estimates"]["tandem"][ACCURACY][-1]["step"] == 60
    assert numbers["settings"]["kl_reg"]["algo"]["kl_coef"] == 0.001 and "log" not in numbers["settings"]["kl_reg"]
    assert {"machine", "packages", "command", "interval", "overrides", "problems", "minutes"} <= set(numbers)
    assert Image.open(folder / "figure.png").size[0] > 1000
    text = page.read_text()
    assert "python launch/experiment.py preset=jargon seeds=3\n" in text and "(jargon/figure.png)" in text
    assert text.endswith(READING)
    page.write_text(text.replace("# A senior", "# Another") + "\nThe senior gives it up.\n\n## More\n\nAnd so on.\n")
    report(compared, compared.runs)
    assert page.read_text() == text + "\nThe senior gives it up.\n\n## More\n\nAnd so on.\n"
