"""Tests of checkpoints, and of the choice of the one to resume from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from launch.run.checkpointing import Checkpointer
from launch.storage.checkpoints import SET_ASIDE, Checkpoint, Checkpoints, DriverState
from launch.storage.resume import find_resumption
from launch.storage.run_folder import RunFolder
from tandem.config.load import load
from tandem.config.run import CheckpointConfig
from tandem.config.schema import Config, ConfigError
from tandem.runtime.atomic_dir import MANIFEST, PARTIAL
from tandem.staleness import StreamPosition

pytestmark = pytest.mark.seconds


def settings(tmp_path: Path, **changes: Any) -> Config:
    """The configuration of a run named `first`, with dotted keys changed."""
    given = OmegaConf.create(
        {
            "name": "first",
            "log": {"dir": str(tmp_path), "tensorboard": False},
            "model": {"source": "zoo", "recipe": "plain"},
            "data": {"source": "arith"},
        }
    )
    for key, value in changes.items():
        OmegaConf.update(given, key.replace("__", "."), value)
    return load(given)


def save_learner(folder: Path) -> None:
    (folder / "weights.pt").write_bytes(bytes(range(100)))


def run_to(config: Config, *steps: int, save: tuple[int, ...] = ()) -> Path:
    """Make a run that has logged `steps` and saved checkpoints after some of them."""
    with RunFolder(config, find_resumption(config)) as folder:
        for step in steps:
            folder.log({"step": step, "reward/mean": 0.25})
            if step in save:
                folder.checkpoints.save(DriverState(step, StreamPosition(16 * step, [3])), folder.config, save_learner)
    return folder.path


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def logged(run: Path) -> list[int]:
    return [yaml.safe_load(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_checkpoint_contains_saved_state(tmp_path: Path) -> None:
    run = run_to(settings(tmp_path), 1, 2, save=(2,))
    assert names(run / "checkpoints") == ["step-000002"]
    checkpoint = Checkpoint(run / "checkpoints" / "step-000002")
    assert names(checkpoint.path) == ["config.yaml", "learner", MANIFEST, "state.json"]
    assert (checkpoint.step, checkpoint.run) == (2, run)
    state = checkpoint.state()
    assert (state.step, state.stream_position) == (2, StreamPosition(32, [3]))
    assert "torch" in state.packages
    assert names(checkpoint.learner) == ["weights.pt"]


@pytest.mark.parametrize(("keep_last", "kept"), [(1, [4]), (2, [3, 4]), (0, [1, 2, 3, 4])])
def test_only_last_checkpoints_are_kept(tmp_path: Path, keep_last: int, kept: list[int]) -> None:
    config = settings(tmp_path, checkpoint__keep_last=keep_last)
    run = run_to(config, 1, 2, 3, 4, save=(1, 2, 3, 4))
    assert names(run / "checkpoints") == [f"step-{step:06d}" for step in kept]


def test_failed_checkpoint_removes_no_other(tmp_path: Path) -> None:
    config = settings(tmp_path, checkpoint__keep_last=1)
    run = run_to(config, 1, save=(1,))

    def fail(folder: Path) -> None:
        save_learner(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Checkpoints(run / "checkpoints", config.checkpoint).save(DriverState(2, StreamPosition()), run / "config.yaml", fail)
    assert names(run / "checkpoints") == ["step-000001"]
    assert find_resumption(replace(config, resume="auto")).checkpoint == Checkpoint(run / "checkpoints" / "step-000001")


@pytest.mark.parametrize(("every", "due"), [(0, []), (1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (7, [7]), (20, [7])])
def test_checkpoint_is_due_every_save_every_steps_and_at_end(tmp_path: Path, every: int, due: list[int]) -> None:
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(save_every=every))
    assert [step for step in range(1, 8) if checkpoints.due(step, last=7)] == due


# The checkpoint to resume from


def test_resume_auto_starts_and_resumes_run(tmp_path: Path) -> None:
    config = settings(tmp_path, resume="auto")
    assert find_resumption(config).checkpoint is None
    run = run_to(config, 0, 1, 2, 3, save=(1, 2))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "reward/me')
    found = find_resumption(config)
    assert (found.run, found.checkpoint, found.warnings) == (run, Checkpoint(run / "checkpoints" / "step-000002"), ())
    assert run_to(config) == run
    assert logged(run) == [0, 1, 2], "later steps are written again"


@pytest.mark.parametrize("form", ["the run", "the checkpoint"])
def test_resume_path_is_run_or_checkpoint(tmp_path: Path, form: str) -> None:
    run = run_to(settings(tmp_path), 0, 1, 2, 3, save=(1, 3))
    chosen = run / "checkpoints" / "step-000001"
    config = settings(tmp_path / "elsewhere", name="", resume=str(run if form == "the run" else chosen))
    found = find_resumption(config)
    assert (found.run, found.checkpoint) == (
        run,
        Checkpoint(run / "checkpoints" / "step-000003" if form == "the run" else chosen),
    )
    assert run_to(config) == run
    assert logged(run) == ([0, 1, 2, 3] if form == "the run" else [0, 1])


def test_later_checkpoints_are_set_aside(tmp_path: Path) -> None:
    run = run_to(settings(tmp_path), 1, 2, 3, save=(1, 3))
    config = settings(tmp_path, resume=str(run / "checkpoints" / "step-000001"))
    run_to(config)
    assert names(run / "checkpoints") == ["step-000001", f"step-000003{SET_ASIDE}"]
    assert find_resumption(replace(config, resume="auto")).checkpoint == Checkpoint(run / "checkpoints" / "step-000001")
    run_to(config, 2, save=(2,))
    assert names(run / "checkpoints") == ["step-000001", "step-000002", f"step-000003{SET_ASIDE}"]
    run_to(replace(config, resume="auto"), 3, save=(3,))
    assert names(run / "checkpoints") == ["step-000002", "step-000003"], "the run has reached it again"


def test_run_without_checkpoint_starts_again(tmp_path: Path) -> None:
    config = settings(tmp_path, resume="auto")
    run = run_to(config, 0, 1, 2)
    assert run_to(config, 0) == run and logged(run) == [0]
    run_to(replace(config, steps=2), 1, 2)
    with pytest.raises(ConfigError, match="resume=auto: .* holds a finished run; choose another name, or remove it$"):
        run_to(replace(config, steps=2))


def flip(checkpoint: Path) -> None:
    (file := checkpoint / "learner" / "weights.pt").write_bytes(bytes([1]) + file.read_bytes()[1:])


def truncate(checkpoint: Path) -> None:
    (file := checkpoint / "learner" / "weights.pt").write_bytes(file.read_bytes()[:-1])


def lose(checkpoint: Path) -> None:
    (checkpoint / "state.json").unlink()


def leave(checkpoint: Path) -> None:
    checkpoint.rename(checkpoint.with_name(checkpoint.name + PARTIAL))


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (flip, " is damaged: learner/weights.pt has another checksum; skipped"),
    (truncate, " is damaged: learner/weights.pt has 99 bytes instead of 100; skipped"),
    (lose, " is damaged: state.json is missing; skipped"),
    (leave, f"{PARTIAL} is incomplete; skipped"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damaged_checkpoint_is_skipped(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    config = settings(tmp_path, resume="auto")
    run = run_to(config, 1, 2, 3, save=(1, 2, 3))
    damage(newest := run / "checkpoints" / "step-000003")
    found = find_resumption(config)
    assert found.checkpoint == Checkpoint(run / "checkpoints" / "step-000002")
    assert found.warnings == (f"warning: {newest}{message}",)
    run_to(config, 3, save=(3,))
    assert names(run / "checkpoints") == ["step-000002", "step-000003"]
    assert find_resumption(config) == (run, Checkpoint(newest), ())


def test_run_without_intact_checkpoint_is_refused(tmp_path: Path) -> None:
    config = settings(tmp_path, resume="auto")
    run = run_to(config, 1, 2, save=(1, 2))
    for step in (1, 2):
        flip(run / "checkpoints" / f"step-{step:06d}")
    with pytest.raises(ConfigError, match=r"(?s)^resume=auto: there is no intact checkpoint; .*000002 is damaged.*000001 is"):
        find_resumption(config)
    only = run / "checkpoints" / "step-000002"
    with pytest.raises(
        ConfigError, match="no intact checkpoint; leave resume out and choose another name for a new"
    ) as refused:
        find_resumption(settings(tmp_path, resume=str(only)))
    assert "000002 is damaged" in str(refused.value)
    assert "000001" not in str(refused.value), "a named checkpoint is not replaced by another"


def test_full_disk_keeps_earlier_checkpoints_and_warns(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = settings(small_disk, steps=3, checkpoint__save_every=1)
    sizes = iter([1_000, 2 << 20, 2_000])

    def save(folder: Path) -> None:
        (folder / "weights.pt").write_bytes(bytes(next(sizes)))

    with RunFolder(config) as folder:
        learner: Any = SimpleNamespace(save=save, checkpointed=lambda folder: None)
        checkpointer = Checkpointer(config, folder, learner, print)
        checkpointer.save_if_due(DriverState(1, StreamPosition()))
        checkpointer.save_if_due(DriverState(2, StreamPosition()))
        said = capsys.readouterr().out
        assert names(folder.path / "checkpoints") == ["step-000001"]
        assert "WARNING: step 2 could not be saved" in said and "No space left on device" in said
        assert f"{folder.path / 'checkpoints' / 'step-000001'} is kept" in said
        checkpointer.save_if_due(DriverState(3, StreamPosition()))
        assert names(folder.path / "checkpoints") == ["step-000001", "step-000003"]


# Refused changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "resume=auto: no run is named; give name=NAME"),
        ({"resume": "/no/such/run", "name": ""}, r"(?s)resume=/no/such/run: there is no intact .*\n  /no/such/run has none"),
        ({"resume": "{run}", "name": "second"}, "name=second: resume=.*first continues in .*first; leave the name out"),
        ({"steps": 1}, "steps=1: .*step-000002 is of a later step; give at least 2"),
        ({"seed": 2}, "seed=2: .*step-000002 was written with 1; use that, or start a new run"),
        ({"model__recipe": "jargon"}, "model.recipe=jargon: .* was written with plain"),
        ({"rollout__prompts_per_step": 8}, "rollout.prompts_per_step=8: .* was written with 16"),
        ({"rollout__group_size": 4, "data__max_prompt_tokens": 80}, r"(?s)data.max_prompt_tokens=80.*\nrollout.group_size=4"),
        ({"junior": ["/a/junior"]}, r"junior=\['/a/junior'\]: .* was written with \['self'\]"),
        ({"learner__dtype": "bfloat16", "model__dtype": "bfloat16"}, "learner.dtype=bfloat16: .* was written with float32"),
        ({"learner__zero_stage": 0}, "learner.zero_stage=0: .* was written with 1; only stages 1 and 2 read"),
        ({"learner__zero_stage": 3}, "learner.zero_stage=3: .* was written with 1; only stages 1 and 2 read"),
    ],
)
def test_change_of_fixed_setting_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    run = run_to(settings(tmp_path), 1, 2, save=(2,))
    given = {key: value.format(run=run) if isinstance(value, str) else value for key, value in changes.items()}
    with pytest.raises(ConfigError, match=message):
        find_resumption(settings(tmp_path, **{"resume": "auto"} | given))


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"steps": 100, "learner__ranks": 2, "learner__zero_stage": 2, "learner__micro_batch_tokens": 99}, []),
        ({"rollout__replicas": 3, "eval__every": 5, "guard__max_logprob_gap": 1.0, "checkpoint__save_every": 1}, []),
        ({"learner__lr": 1e-5}, ["warning: learner.lr changes from 0.0002 to 1e-05"]),
        ({"algo__kl_coef": 0.1}, ["warning: algo.kl_coef changes from 0.0 to 0.1"]),
        (
            {"steps": 100, "learner__lr_schedule": "cosine"},
            [
                "warning: steps changes from 60 to 100",
                "warning: learner.lr_schedule changes from constant to cosine",
            ],
        ),
    ],
)
def test_change_that_affects_training_warns(tmp_path: Path, changes: dict[str, Any], warned: list[str]) -> None:
    run_to(settings(tmp_path), 1, 2, save=(2,))
    found = find_resumption(settings(tmp_path, resume="auto", **changes))
    assert list(found.warnings) == warned
    assert found.checkpoint is not None and found.checkpoint.step == 2


def test_change_of_packages_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_to(settings(tmp_path), 1, save=(1,))
    monkeypatch.setattr("launch.storage.resume.recorded_versions", lambda: {"torch": "9.9"})
    (torch, *others) = sorted(find_resumption(settings(tmp_path, resume="auto")).warnings, key=lambda line: "torch" not in line)
    assert torch.startswith("warning: torch changes from 2.") and torch.endswith(" to 9.9")
    assert others and all(line.endswith(" to missing") for line in others)


def test_copied_run_resumes_independently(tmp_path: Path) -> None:
    run = run_to(settings(tmp_path), 1, 2, save=(1, 2))
    shutil.copytree(run, tmp_path / "second")
    config = settings(tmp_path, name="second", resume="auto")
    assert run_to(config, 3, save=(3,)) == tmp_path / "second"
    assert logged(run) == [1, 2] and logged(tmp_path / "second") == [1, 2, 3]
