"""Tests that a refused run names a remedy, and that no remedy is refused in turn."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.storage.checkpoints import DriverState
from launch.storage.resume import find_resumption
from launch.storage.run_folder import RunFolder
from tandem.config.schema import Config, ConfigError
from tandem.records.run_record import STOPPED_EARLY
from tandem.runtime.atomic_dir import MANIFEST, seal
from tandem.staleness import StreamPosition
from tests.support.settings import settings


def start(config: Config) -> RunFolder:
    """Return the folder of a run with these settings, as far as they are accepted."""
    return RunFolder(config, find_resumption(config))


def refusal(config: Config) -> str:
    with pytest.raises(ConfigError) as refused:
        start(config)
    return str(refused.value)


def made(config: Config, *, save: tuple[int, ...] = (), metrics: dict[str, float] | None = None) -> Path:
    """Make a run that has logged two steps, the last with `metrics`, and saved checkpoints after some of them."""
    with start(config) as folder:
        for step in (1, 2):
            folder.log({"step": float(step)} | (metrics or {} if step == 2 else {}))
            if step in save:
                folder.checkpoints.save(DriverState(step, StreamPosition(16 * step)), folder.config, save_learner)
    return folder.path


def save_learner(folder: Path) -> None:
    (folder / "weights").write_bytes(b"weights")


@pytest.mark.parametrize(
    ("changes", "save", "remedy"),
    [
        ({}, (2,), "choose another name, remove it, or continue it with resume=auto"),
        ({}, (), "choose another name, remove it, or start it again with resume=auto"),
        ({"steps": 2}, (), "choose another name, or remove it"),
        ({"steps": 2}, (2,), "choose another name, remove it, or continue it with resume=auto and steps above 2"),
        ({"rollouts_only": True}, (), "choose another name, or remove it"),
        ({"learner_only": "fake"}, (), "choose another name, or remove it"),
    ],
)
def test_existing_run_is_refused_with_what_continues_it(
    tmp_path: Path, changes: dict[str, Any], save: tuple[int, ...], remedy: str
) -> None:
    config = settings(tmp_path, **changes)
    made(config, save=save)
    said = refusal(config)
    assert said.endswith(f"exists, which has ended at step 2; {remedy}")
    if "resume=auto" in said:
        start(settings(tmp_path, **changes | {"resume": "auto"} | ({"steps": 3} if "steps above" in said else {})))
    else:
        with pytest.raises(ConfigError):
            start(settings(tmp_path, **changes, resume="auto"))
    start(settings(tmp_path, **changes | {"name": "other"}))


def test_run_with_more_steps_than_asked_for_is_continued_with_more(tmp_path: Path) -> None:
    made(settings(tmp_path), save=(2,))
    assert refusal(settings(tmp_path, steps=1)).endswith("continue it with resume=auto and steps above 2")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]"])
def test_run_with_damaged_checkpoint_is_refused_without_error(tmp_path: Path, content: bytes) -> None:
    run = made(settings(tmp_path), save=(2,))
    state = run / "checkpoints" / "step-000002" / "state.json"
    state.write_bytes(content)
    assert refusal(settings(tmp_path)).endswith("; choose another name, or remove it")
    (state.parent / MANIFEST).unlink()
    seal(state.parent)  # as if it had been written so
    assert refusal(settings(tmp_path)).endswith("; choose another name, or remove it")


def test_run_without_learner_is_not_continued_as_training(tmp_path: Path) -> None:
    made(settings(tmp_path, rollouts_only=True))
    assert refusal(settings(tmp_path)).endswith("; choose another name, or remove it")


@pytest.mark.parametrize("part", [{"rollouts_only": True}, {"learner_only": "fake"}])
def test_run_that_does_not_train_is_kept_by_resume(tmp_path: Path, part: dict[str, Any]) -> None:
    path = made(settings(tmp_path, **part))
    before = (path / "metrics.jsonl").read_bytes()
    for resume in ("auto", str(path)):
        assert re.search(f"^resume={resume}: {path} has {next(iter(part))} set, ", refusal(settings(tmp_path, resume=resume)))
    assert (path / "metrics.jsonl").read_bytes() == before


def test_run_with_other_fixed_settings_is_not_continued(tmp_path: Path) -> None:
    made(settings(tmp_path), save=(2,))
    assert refusal(settings(tmp_path, seed=7)).endswith("; choose another name, or remove it")


def test_run_that_stopped_early_continues_with_more_patience(tmp_path: Path) -> None:
    stop = {"stop": {"metric": "solo/accuracy", "patience": 2}}
    made(settings(tmp_path, **stop), save=(2,), metrics={STOPPED_EARLY: 1.0})
    assert refusal(settings(tmp_path, **stop)).endswith("or continue it with resume=auto and stop.patience above 2")
    assert refusal(settings(tmp_path)).endswith("or continue it with resume=auto")


def remove(run: Path) -> dict[str, Any]:
    shutil.rmtree(run)
    return {}


def rename(run: Path) -> dict[str, Any]:
    return {"name": "other"}


@pytest.mark.parametrize("mend", [remove, rename])
def test_run_without_intact_checkpoint_is_refused_with_what_starts_new_one(
    tmp_path: Path, mend: Callable[[Path], dict[str, Any]]
) -> None:
    config = settings(tmp_path, resume="auto")
    run = made(config, save=(2,))
    (weights := run / "checkpoints" / "step-000002" / "learner" / "weights").write_bytes(b"changed")
    assert weights.is_file()
    said = refusal(config)
    assert said.startswith(f"resume=auto: there is no intact checkpoint; for a new run choose another name, or remove {run}\n")
    start(settings(tmp_path, **{"resume": "auto"} | mend(run)))


def test_named_checkpoint_that_is_damaged_is_refused_with_what_starts_new_run(tmp_path: Path) -> None:
    run = made(settings(tmp_path), save=(2,))
    (checkpoint := run / "checkpoints" / "step-000002").joinpath("state.json").unlink()
    said = refusal(settings(tmp_path, resume=str(checkpoint)))
    assert "there is no intact checkpoint; leave resume out and choose another name for a new run\n" in said
    start(settings(tmp_path, name="other"))
    said = refusal(settings(tmp_path, name="", resume=str(checkpoint)))
    assert "there is no intact checkpoint; leave resume out for a new run\n" in said
    start(settings(tmp_path, name=""))


@pytest.mark.parametrize(("steps", "advice"), [(3, "Start again: "), (2, "there is no checkpoint to resume from")])
def test_interrupted_run_names_only_command_that_works(tmp_path: Path, steps: int, advice: str) -> None:
    def interrupt() -> None:
        with start(settings(tmp_path, steps=steps)) as folder:
            folder.log({"step": 2})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=f"^after step 2; .*{advice}"):
        interrupt()
    again = settings(tmp_path, steps=steps, resume="auto")
    if steps == 3:
        start(again)
    else:
        assert "holds a finished run" in refusal(again)
