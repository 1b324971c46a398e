"""The best senior of a run: which seniors are kept, through resumes and full disks."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch.entry import configuration
from launch.evaluation.measured_run import senior_of
from launch.evaluation.training_measures import check_measures
from launch.run.selection import describe_best, keep_if_best
from launch.storage.checkpoints import DriverState
from launch.storage.resume import Resumption
from launch.storage.run_folder import RunFolder
from tandem.config.schema import Config, ConfigError
from tandem.records.step_folders import step_folders
from tandem.staleness import START

MEASURE = "solo/accuracy"


class Learner:
    """Exports the step it has reached."""

    step = 0
    full = False

    def export(self, path: Path) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "no space left on device")
        (path / "step").write_text(str(self.step))


def config_in(folder: Path) -> Config:
    return configuration([f"log.dir={folder}", "log.tensorboard=false", "name=run", f"eval.select={MEASURE}"])


def train(config: Config, values: dict[int, float], resumption: Resumption | None = None, **learner: Any) -> RunFolder:
    """Take the steps of `values`, each with its measure and a checkpoint, as the training loop does; the run's folder."""
    with RunFolder(config, *([resumption] if resumption else [])) as folder:
        console = SimpleNamespace(print=print)
        run: Any = SimpleNamespace(config=config, folder=folder, console=console, learner=Learner())
        vars(run.learner).update(learner)
        for run.learner.step, value in values.items():
            folder.log({"step": run.learner.step, MEASURE: value})
            keep_if_best(run, run.learner.step)
            if run.learner.step:
                folder.checkpoints.save(DriverState(run.learner.step, START), folder.config, lambda path: None)
    return folder


def kept(folder: RunFolder) -> list[int]:
    seniors = step_folders(folder.best)
    assert all(int((path / "step").read_text()) == step for step, path in seniors.items())
    return list(seniors)


def test_the_first_of_the_best_seniors_is_kept(tmp_path: Path) -> None:
    folder = train(config_in(tmp_path), {0: 0.9, 1: 0.3, 2: 0.5, 3: 0.4, 4: 0.5})
    assert kept(folder) == [2], "the base does not count, and an equal one does not replace it"
    best = folder.best / "step-000002"
    assert describe_best(folder, MEASURE) == f"best senior by {MEASURE}: 0.500 after step 2, {best}"
    (folder.path / "senior").mkdir()
    assert senior_of(str(folder.path)) == str(best)


def test_a_run_that_is_never_measured_has_no_best_senior(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    folder = train(replace(config, eval=replace(config.eval, select="")), {0: 0.1, 1: 0.3})
    assert not folder.best.exists() and describe_best(folder, "") is None


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=4, max_size=7), back=st.integers(0, 1))
def test_a_resumed_run_keeps_the_best_up_to_its_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], back: int
) -> None:
    """Whichever of the kept checkpoints it resumes from."""
    config = config_in(tmp_path_factory.mktemp("run"))
    before = dict(enumerate(values, start=1))
    folder = train(config, before)
    checkpoint = folder.checkpoints.complete()[back]
    remaining = {step: value for step, value in before.items() if step <= checkpoint.step}
    resumed = train(replace(config, resume="auto"), {}, Resumption(folder.path, checkpoint))
    assert describe_best(resumed, MEASURE)
    assert kept(resumed) == [min(remaining, key=lambda step: (-remaining[step], step))]
    last = len(values) + 1
    resumed = train(replace(config, resume="auto"), {last: 1.0}, Resumption(folder.path, checkpoint))
    assert describe_best(resumed, MEASURE) and kept(resumed) == [last]


def test_a_full_disk_costs_the_senior_and_not_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(config_in(tmp_path), {1: 0.3}, full=True)
    assert kept(folder) == [] and describe_best(folder, MEASURE) is None
    assert f"the senior after step 1, the best so far by {MEASURE}, could not be kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        (["eval.select=solo/pass@4"], "eval.select=solo/pass@4: .* choose solo/accuracy, or have it measured"),
        (["eval.select=solo/tokens"], "eval.select=solo/tokens: .* choose solo/accuracy"),
        (
            ["eval.select=x", "eval=experiment"],
            "choose solo/accuracy or team/step_alternating/accuracy or team/word/accuracy or solo/greedy,",
        ),
        (["eval.select=solo/pass@4", "eval.samples=4", "eval.pass_at=[1,4]"], ""),
    ],
)
def test_a_measure_that_is_not_taken_is_refused(given_settings: list[str], message: str) -> None:
    config = configuration(given_settings)
    if message:
        with pytest.raises(ConfigError, match=message):
            check_measures(config)
    else:
        check_measures(config)
