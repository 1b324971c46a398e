"""launch/experiment.py: its runs, resuming, and a whole experiment on real engines."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure

from launch.command_line import CONF
from launch.experiments import preset as presets
from launch.experiments.comparison import check_same_settings, run_experiment, show_experiment
from launch.experiments.preset import PRESETS, Experiment, ExperimentRun, parse_experiment, read_preset
from launch.terminal import terminal_console
from tandem.config.schema import ConfigError
from tandem.measures.names import ACCURACY, LEGIBILITY, measures_of
from tandem.runtime.exit_status import BAD_INPUT
from tests.support import ROOT
from tests.support.experiment_runs import make_run

pytestmark = pytest.mark.seconds

RESULTS = ROOT / "docs/results"
ENDPOINT = (
    "title: x\narms: {{a: [algo=grpo], b: []}}\nevaluations: {{end: [eval=full]}}\n"
    "endpoints: [{{name: e, evaluation: {}, measures: [solo/accuracy], arms: [a, b], claim: {}, margin: {}}}]"
)

# Its runs


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


# Resuming


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
