"""Tests of invalid settings of `python launch/train.py`, and of the exit codes of other errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError

from learner.group import LearnerError
from tandem.config.schema import Config, ConfigError
from tandem.guards import GuardError
from tandem.runtime.exit_status import BAD_INPUT, FAILED, INTERRUPTED

pytestmark = pytest.mark.seconds

Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.prob_senior=1.5", "schedule.prob_senior=1.5: give a number from 0 to 1"),
        ("rollout.group_size=1", "rollout.group_size=1: give a number of at least 2"),
        (
            "algo.mini_batches=3",
            "algo.mini_batches=3: the step's 128 rollouts (rollout.prompts_per_step=16 x rollout.group_size=8) "
            "are not divisible by it; choose a divisor",
        ),
    ],
)
def test_invalid_value_is_refused(refused: Refused, override: str, message: str) -> None:
    assert refused(override) == message


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("schedule.prob_seinor=0.5", "schedule.prob_seinor: there is no such key; did you mean schedule.prob_senior"),
        ("group_size=4", "group_size: there is no such key; did you mean rollout.group_size?"),
        ("guard.publish_timeout_s=60", "there is no such key any more: it is guard.call_timeout_s"),
        ("guard.senior_fraction_tolerance=0.1", "there is no such key any more: the guard tests exactly how many draws"),
        ("quite_unlike=anything", "quite_unlike: there is no such key"),
        ("+schedule.speed=3", "schedule.speed"),
        ("rollout.group_size=many", "rollout.group_size=many: give a whole number"),
        ("model=huge", "model/huge"),
        ("schedule.prob_senior", "schedule.prob_senior"),
        ("model.shape={hidden_size:wide}", "model.shape={hidden_size:wide}"),
        ("junior=org/model", "junior=org/model: this is a list; write 'junior=[org/model]'"),
    ],
)
def test_meaningless_override_is_refused(refused: Refused, override: str, named: str) -> None:
    assert named in refused(override)


@pytest.mark.parametrize("script", ["launch/evaluate.py", "launch/difficulty.py", "launch/serve.py", "launch/write.py"])
@pytest.mark.parametrize(
    "override", ["plan_only=true", "resume=auto", "rollouts_only=true", "learner_only=fake", "profile=true"]
)
def test_training_settings_are_refused_by_other_entry_points(
    call: Callable[..., None], script: str, override: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=str(BAD_INPUT)):
        call(override, script=script)
    key, _, value = override.partition("=")
    assert f"{key}={value.replace('true', 'True')}: only launch/train.py takes this; leave it out" in capsys.readouterr().err


def test_weights_larger_than_shared_memory_are_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    small = SimpleNamespace(total=1 << 20, free=1 << 20)
    monkeypatch.setattr("tandem.runtime.segment.shutil.disk_usage", lambda folder: small)
    message = refused()
    assert message.startswith("learner.transport=shm: the senior's weights take 2 MiB of /dev/shm, and 1 MiB are free; ")
    assert "--shm-size" in message


@pytest.mark.parametrize(
    "key", ["resume", "learner_only", "cache_dir", "log.dir", "log.export_fallback", "junior", "model.path"]
)
def test_unreachable_path_is_refused(refused: Refused, key: str) -> None:
    path = "x" * 300
    given = f"[{path}]" if key == "junior" else path
    assert f"{key}={path[:200]}: File name too long; name another" in refused(f"{key}={given}")


@pytest.mark.parametrize("key", ["log.dir", "cache_dir"])
def test_unwritable_folder_is_refused(call: Callable[..., None], key: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=str(BAD_INPUT)):
        call(f"{key}=/proc/none")
    said = capsys.readouterr().err
    assert said.startswith(f"train.py: {key}=/proc/none") and "name another folder" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps=(5)", "steps=(5): give a whole number"),
        ("model=ü", "model=ü: there is no conf/model/ü.yaml; choose hf or "),
        ("name=../up", "name=../up: it must name a folder in"),
    ],
)
def test_unreadable_value_is_explained(refused: Refused, override: str, said: str) -> None:
    assert refused(override).startswith(said)


def test_existing_run_folder_is_refused(call: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "runs" / "run" / "metrics.jsonl"
    taken.parent.mkdir(parents=True)
    taken.touch()
    with pytest.raises(SystemExit) as exit_:
        call()
    assert exit_.value.code == BAD_INPUT
    assert "name=run: " in capsys.readouterr().err


def test_interrupt_has_its_own_exit_code(call: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(config: Config) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as exit_:
        call(program=interrupted)
    assert exit_.value.code == INTERRUPTED
    assert capsys.readouterr().err == "Interrupted\n"


def test_internal_error_keeps_traceback(call: Callable[..., None]) -> None:
    def broken(config: Config) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        call(program=broken)


@pytest.mark.parametrize(
    ("inner", "code"), [(ConfigError("learner.transport=shm: no room"), BAD_INPUT), (GuardError("the run is wrong"), FAILED)]
)
def test_error_of_actor_is_shown_as_its_message(
    call: Callable[..., None], capsys: pytest.CaptureFixture[str], inner: Exception, code: int
) -> None:
    def failing(config: Config) -> None:
        wrapped = RayTaskError("update", "Traceback: a page of it", inner)
        raise LearnerError(f"learner rank 0 of 1 failed: {wrapped}") from wrapped

    with pytest.raises(SystemExit) as exit_:
        call(program=failing)
    assert (exit_.value.code, capsys.readouterr().err) == (code, f"train.py: {inner}\n")


def test_unknown_error_of_actor_keeps_traceback(call: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def failing(config: Config) -> None:
        wrapped = RayTaskError("update", "Traceback: a page of it", ZeroDivisionError("a bug"))
        raise LearnerError(f"learner rank 0 of 1 failed: {wrapped}") from wrapped

    with pytest.raises(SystemExit) as exit_:
        call(program=failing)
    said = capsys.readouterr().err
    assert exit_.value.code == FAILED and "learner rank 0 of 1 failed" in said and "a page of it" in said
