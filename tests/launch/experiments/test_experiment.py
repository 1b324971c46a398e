"""launch/experiment.py: what is compared, what comes of its runs, and the whole on real engines."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image

from launch.command_line import CONF
from launch.experiments import preset as presets
from launch.experiments.comparison import check_same_settings, report, run_experiment, show_experiment
from launch.experiments.figure import draw_experiment
from launch.experiments.page import READING, measure_tables, terminal
from launch.experiments.preset import PRESETS, Experiment, ExperimentRun, parse_experiment, read_preset
from launch.experiments.results import ExperimentResults, read_results
from launch.experiments.run_outcome import FINISHED, RunOutcome
from launch.terminal import terminal_console
from tandem.config.run import LogConfig
from tandem.config.schema import ConfigError
from tandem.measures.estimates import mean_over_seeds
from tandem.measures.names import ACCURACY, FLOOR, LEGIBILITY, TITLES, measures_of, shown, title
from tandem.runtime.exit_status import BAD_INPUT
from tests.support import ROOT
from tests.support.run_folders import write_lines

pytestmark = pytest.mark.seconds

RESULTS = ROOT / "docs/results"
STEPS = (0, 20, 40, 60)
MEASURES = shown([ACCURACY, "solo/pass@4", "solo/greedy", "team/word/accuracy", "team/word/retention@1", *TITLES])
"""What the made-up runs measure, with its titles."""
ENDPOINT = (
    "title: x\narms: {{a: [algo=grpo], b: []}}\nevaluations: {{end: [eval=full]}}\n"
    "endpoints: [{{name: e, evaluation: {}, measures: [solo/accuracy], arms: [a, b], claim: {}, margin: {}}}]"
)

# What is compared


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_every_preset_has_valid_runs(name: str) -> None:
    found = parse_experiment([f"preset={name}", "seeds=1"])
    assert [run.arm for run in found.runs] == list(read_preset(name).arms)
    first = found.runs[0].config
    for run in found.runs:
        assert run.config.eval == first.eval and run.config.steps == first.steps, "the budget is the same"
        assert run.config.seed == run.seed and run.config.resume == "auto"
    for measured in found.evaluations or found.runs:
        evaluation = measured.config.eval
        assert {"solo", "handoff", "legibility", "drift"} <= set(evaluation.measures)
        assert evaluation.greedy or name == "smollm2", "its texts take minutes on CPUs"


@pytest.mark.parametrize("name", [path.parent.name for path in sorted(RESULTS.glob("*/results.json"))])
def test_measures_of_evaluation_are_those_that_were_taken(name: str) -> None:
    found = parse_experiment([f"preset={name}", "seeds=1"])
    evaluations = {each.name: each.config for each in found.evaluations}
    for evaluation, written in json.loads((RESULTS / name / "results.json").read_text()).get("evaluations", {}).items():
        taken = {measure for arm in written.values() for measure in arm}
        assert taken and taken <= set(measures_of(evaluations[evaluation]))


def test_command_line_overrides_settings_of_every_run(tmp_path: Path) -> None:
    found = parse_experiment(
        ["preset=jargon", "seeds=1", "arms=grpo_g16,tandem", "name=mine", "steps=7", f"log.dir={tmp_path}", "results=x"]
    )
    assert [run.path for run in found.runs] == [tmp_path / "experiments" / "mine" / f"{arm}-seed1" for arm in found.arms]
    assert list(found.arms) == ["grpo_g16", "tandem"], "an arm need not be the preset's"
    assert [run.config.rollout.group_size for run in found.runs] == [16, 8]
    assert {run.config.steps for run in found.runs} == {7}
    assert found.results == Path("x") and found.folder == tmp_path / "experiments" / "mine"


def test_plan_of_the_published_comparison_starts_nothing(tmp_path: Path) -> None:
    found = parse_experiment(
        ["preset=paper", "seeds=1", "plan_only=true", "cluster.gpus=8", f"log.dir={tmp_path}", "results=x"]
    )
    show_experiment(found, console := terminal_console(file=StringIO(), width=200))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(f"{arm}-seed1" in shown for arm in ("tandem", "grpo", "kl_reg", "grpo_g16"))
    assert shown.count("aime24, aime25, amc, minerva, olympiad, math500") == 5, "the seniors and the base"
    assert not list(tmp_path.iterdir())
    (evaluation, *_) = found.evaluations
    published = yaml.safe_load((CONF / "eval" / "published.yaml").read_text())
    for key in ("measures", "samples", "pass_at", "scored_samples", "problems"):
        assert getattr(evaluation.config.eval, key) == published[key], key
    assert vars(evaluation.config.eval.sampling) == published["sampling"]


def test_seeds_can_have_different_base_models() -> None:
    found = parse_experiment(["preset=jargon_bases", "seeds=2"])
    assert [(run.config.seed, run.config.model.recipe_seed) for run in found.runs] == [(1, 1), (1, 1), (2, 2), (2, 2)]
    assert [run.config.name for run in found.runs] == ["tandem-seed1", "grpo-seed1", "tandem-seed2", "grpo-seed2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"preset=: choose .*jargon.* or self_paired"),
        (["preset=jargn"], r"preset=jargn: choose .*jargon"),
        (["jargon"], r"jargon: give key=value, such as preset=jargon"),
        (["preset=jargon", "arms=tandem,ppo"], r"arms=tandem,ppo: there is no arm ppo; choose among .*grpo_g16"),
        (["preset=jargon", "seeds=many"], r"seeds=many: give a number from 1 to 10"),
        (["preset=jargon", "seeds=0"], r"seeds=0: give a number"),
        (
            ["preset=jargon", "seeds=1", "results=/proc/x"],
            r"results=/proc/x: /proc/x cannot .*; name another folder",
        ),
        (["preset=jargon", "name=../up"], r"name=../up: it becomes a folder"),
        (["preset=jargon", "steps=0"], r"arm tandem: steps=0: give a number of at least 1"),
        (["preset=jargon", "learner.rate=1"], r"arm tandem: learner.rate: there is no such key"),
        (["preset=jargon", "eval.measures=[handoff]"], r"arm tandem: eval.measures=.*name solo too"),
        (["preset=jargon", "resume=x"], r"arm tandem: name, resume and log.export are the experiment's own"),
        (
            ["preset=jargon", "rollouts_only=true"],
            r"arm tandem: rollouts_only=True: an experiment trains every run whole; leave",
        ),
        (["preset=jargon", "learner_only=fake"], r"arm tandem: learner_only=fake: an experiment trains every run whole"),
        (["preset=jargon", "seed=7"], r"seed=7: every seed has a seed of its own, from 1 up; leave it out"),
        (["preset=jargon_bases", "model.recipe_seed=7"], r"model.recipe_seed=7: every seed has a model.recipe_seed of its own"),
        (["preset=jargon", "schedule=token"], r"arm grpo: schedule.name=token: algo=grpo is a control"),
    ],
    ids=str,
)
def test_invalid_comparison_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        parse_experiment(arguments)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("title: x\narms: {a: [algo=grpo]}\nsteps: 3", "mine.yaml: steps"),
        ("title: x\narms: {a: 3}", r"mine.yaml: arms"),
        ("title: x\narms: {../a: []}", r"mine.yaml: arms=\['../a'\]: they name folders"),
        ("title: x", r"mine.yaml: arms: .*[Mm]issing.*; docs/experiments.md lists the fields"),
        ("title: x\narms: {}", r"mine.yaml: arms: name at least one; docs/experiments.md"),
        ("title: x\narms: {a: [algo=grpo]", r"mine.yaml: this is not YAML: .*; correct the file"),
        ("title: x\ntitle: y\narms: {a: []}", r"mine.yaml: this is not YAML: .*duplicate key.*; correct the file"),
        ("title: x\narms: {a: []}\nevaluations: {../e: []}", r"mine.yaml: evaluations=\['../e'\]: they name folders"),
        (ENDPOINT.format("late", "greater", 0), "mine.yaml: endpoints: e: evaluation=late: choose among end$"),
        (ENDPOINT.format("end", "greater", 0.1), "mine.yaml: endpoints: e: margin=0.1: .* above 0 with claim=equal alone"),
        (ENDPOINT.format("end", "equal", 0), "mine.yaml: endpoints: e: margin=0: .* above 0 with claim=equal alone"),
        (ENDPOINT.format("end", "more", 0), "mine.yaml: endpoints: e: claim=more: choose equal, greater, less"),
        (
            ENDPOINT.format("end", "less", 0).replace("solo/accuracy", "solo/acuracy"),
            r"mine.yaml: endpoints: e: measures=\['solo/acuracy'\]: the evaluation end does not take them; choose",
        ),
        (
            ENDPOINT.format("end", "less", 0).replace("[a, b]", "[a, a]"),
            r"mine.yaml: endpoints: e: arms=\['a', 'a'\]: name two",
        ),
        (
            ENDPOINT.format("end", "less", 0).replace("[a, b]", "[a, c]"),
            r"mine.yaml: endpoints: e: arms=\['a', 'c'\]: name two different ones of a, b",
        ),
    ],
)
def test_all_arms_of_preset_are_checked(written: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "PRESETS", tmp_path)
    (tmp_path / "mine.yaml").write_text(written)
    with pytest.raises(ConfigError, match=message):
        parse_experiment(["preset=mine"])


def test_entry_point_prints_error_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["launch/experiment.py", "preset=jargon", "arms=none"])
    with pytest.raises(SystemExit, match=str(BAD_INPUT)):
        runpy.run_path("launch/experiment.py", run_name="__main__")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("experiment.py: arms=none: there is no arm none") and said.err.count("\n") == 1


# What comes of its runs


def value(arm: str, seed: int, step: int, measure: str) -> float:
    """A made-up value that tells where it belongs."""
    return 0.3 + 0.001 * step * (1 if arm == "tandem" else -0.5) + 0.01 * seed + 0.001 * list(MEASURES).index(measure)


def make_run(run: ExperimentRun, steps: tuple[int, ...] = STEPS) -> None:
    """The run's folder, as far as an experiment reads it."""
    run.path.mkdir(parents=True)
    (run.path / "config.yaml").write_text(yaml.safe_dump(asdict(run.config), sort_keys=False))

    def row(step: int) -> dict[str, float]:
        measured = {measure: value(run.arm, run.seed, step, measure) for measure in MEASURES} if step in steps else {}
        evaluated = {"solo/problems": 300, "time/evaluate_s": 10.0, "reward/mean": 0.5} if measured else {}
        return {"step": step} | measured | evaluated | ({"time/step_s": 2.0} if step else {})

    write_lines(run.path / "metrics.jsonl", map(row, range(run.config.steps + 1)))
    RunOutcome(FINISHED, 0, 60.0, run.config.steps).write(run.path)


@pytest.fixture(scope="module")
def described() -> Experiment:
    """Three arms with three seeds."""
    return parse_experiment(["preset=jargon", "seeds=3"])


@pytest.fixture
def compared(described: Experiment, tmp_path: Path) -> Experiment:
    """The same, with folders that can be made."""
    runs = [replace(run, config=replace(run.config, log=LogConfig(dir=str(tmp_path / "runs")))) for run in described.runs]
    return replace(described, runs=tuple(runs), results=tmp_path / "results")


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


# Where it goes on


def test_only_unfinished_runs_are_started(compared: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(run: ExperimentRun, engines: object) -> None:
        if run.seed == 2 and "tandem-seed2" not in made:
            made.append("tandem-seed2")
            raise KeyboardInterrupt
        make_run(run)
        made.append(run.config.name)

    monkeypatch.setattr("launch.experiments.comparison.train_run", make)
    monkeypatch.setattr("launch.experiments.comparison.ray_cluster", lambda logs: nullcontext())
    monkeypatch.setattr("launch.experiments.comparison.draw_experiment", lambda results: Figure())  # it takes a second
    with pytest.raises(KeyboardInterrupt):
        run_experiment(compared, terminal_console())
    assert made == ["tandem-seed1", "grpo-seed1", "kl_reg-seed1", "tandem-seed2"]
    assert (compared.results / "jargon.md").exists(), "what is finished is told"
    assert [run.finished for run in compared.runs].count(True) == 3
    run_experiment(compared, terminal_console())
    assert made[4:] == [f"{arm}-seed{seed}" for seed in (2, 3) for arm in compared.arms]
    run_experiment(compared, terminal_console())
    assert len(made) == 10, "a third start only reports"


def test_folder_with_other_settings_is_refused(compared: Experiment) -> None:
    run = compared.runs[0]
    check_same_settings(run)
    make_run(run)
    check_same_settings(run)
    free = replace(run.config, judge=replace(run.config.judge, workers=2), log=replace(run.config.log, tensorboard=False))
    check_same_settings(replace(run, config=free))
    for changed, key in [
        (replace(run.config, steps=80), "steps=80"),
        (replace(run.config, eval=replace(run.config.eval, problems=5)), "eval.problems=5"),
        (replace(run.config, learner=replace(run.config.learner, lr=1.0)), "learner.lr=1.0"),
    ]:
        with pytest.raises(ConfigError, match=f"^{key}: .* was made with .*; choose another name, or remove that folder"):
            check_same_settings(replace(run, config=changed))


# The whole


MEASURED = {ACCURACY, LEGIBILITY, "team/word/accuracy", "drift/kl_senior_junior", "acceptance/rate"}
"""One measure of each kind that `eval=experiment` makes."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_arms_on_same_engines(tmp_path: Path, authors: object) -> None:
    command = [
        *(sys.executable, "launch/experiment.py", "preset=self_paired", "seeds=1", "arms=tandem,grpo", "steps=2"),
        *("eval.every=1", "eval.problems=16", f"log.dir={tmp_path}", f"results={tmp_path / 'results'}"),
    ]

    def run() -> str:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "150"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=290)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = run()
    assert said.count("run folder") == 2 and "results in" in said
    numbers = json.loads((tmp_path / "results" / "self_paired" / "results.json").read_text())
    starts = [numbers["values"][arm]["1"]["0"] for arm in ("tandem", "grpo")]
    assert starts[0] == pytest.approx(starts[1], abs=1e-4), "the second arm begins at the base again"
    for arm in ("tandem", "grpo"):
        steps = numbers["values"][arm]["1"]
        assert list(steps) == ["0", "1", "2"] and set(steps["2"]) >= MEASURED
        drift = [steps[step]["drift/kl_senior_junior"] for step in ("0", "2")]
        assert abs(drift[0]) < 1e-6 < drift[1], "what is read are the present weights"
    assert numbers["values"]["tandem"]["1"]["2"] != numbers["values"]["grpo"]["1"]["2"]
    assert "run folder" not in run(), "a second start makes nothing again"
