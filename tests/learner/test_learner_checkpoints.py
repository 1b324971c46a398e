"""Tests of the learner's checkpoints: restored on the same and other numbers of ranks and ZeRO stages."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from learner.group import LearnerGroup
from tandem.config.schema import Config
from tandem.rollout import Group
from tests.support.learner_ranks import GROUPS, Ranks, assert_same, on_policy_groups, tiny_config
from tests.support.random_groups import random_groups

pytestmark = pytest.mark.engines


class Spread(NamedTuple):
    """A number of ranks and a ZeRO stage."""

    ranks: int
    stage: int
    dtype: str = "float32"

    def config(self, **learner: Any) -> Config:
        return tiny_config(ranks=self.ranks, zero_stage=self.stage, dtype=self.dtype, weight_decay=0.1, **learner)


def train(learner: Ranks, path: str, steps: tuple[int, ...]) -> None:
    for step in steps:
        learner("train", on_policy_groups(path, seed=step), step)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the learner's folder of a checkpoint."""
    (path := tmp_path / "step-000002" / "learner").mkdir(parents=True)
    return path


def assert_equal(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Return the bytes of every tensor."""
    assert got.keys() == expected.keys()
    assert all(np.array_equal(got[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("spread", "other"),
    [
        (Spread(2, 1), Spread(1, 2)),
        (Spread(1, 2), Spread(2, 2)),
        (Spread(2, 3), Spread(1, 3)),
        (Spread(2, 2, "bfloat16"), Spread(1, 2, "bfloat16")),
        *(
            pytest.param(*spreads, marks=pytest.mark.slow)
            for spreads in [
                (Spread(1, 1), Spread(2, 1)),
                (Spread(2, 2), Spread(1, 1)),
                (Spread(1, 3), Spread(2, 3)),
                (Spread(2, 0), Spread(1, 0)),
                (Spread(2, 3, "bfloat16"), Spread(1, 3, "bfloat16")),
            ]
        ),
    ],
)
def test_resumed_learner_equals_uninterrupted_on_any_number_of_ranks(
    ranks: dict[int, Ranks], model_paths: dict[str, str], folder: Path, spread: Spread, other: Spread
) -> None:
    path, learner = model_paths["untied"], ranks[spread.ranks]
    learner("reload", spread.config(), path)
    train(learner, path, (1, 2))
    assert learner("save", folder) is None
    before = learner("master_weights")
    train(learner, path, (3, 4))
    after, checksum = learner("master_weights"), learner("publish", 4).checksum

    learner("reload", spread.config(), path, folder)
    assert_equal(learner("master_weights"), before)
    train(learner, path, (3, 4))
    assert_equal(learner("master_weights"), after)
    assert learner("publish", 4).checksum == checksum

    learner = ranks[other.ranks]
    learner("reload", other.config(), path, folder)
    assert_equal(learner("master_weights"), before)
    train(learner, path, (3, 4))
    # Without the optimizer's moments the two steps would differ clearly.
    moved = {name: after[name] - before[name] for name in after}
    resumed = {name: weights - before[name] for name, weights in learner("master_weights").items()}
    assert_same(resumed, moved, rtol=1e-3 if spread.dtype == "float32" else 0.1)
    assert list(folder.parent.parent.iterdir()) == [folder.parent], "the converted copy is gone"


@pytest.mark.parametrize(
    ("spread", "other"), [(Spread(1, 2), Spread(1, 2)), (Spread(2, 1), Spread(1, 1)), (Spread(2, 3), Spread(1, 3))]
)
def test_optimizer_settings_come_from_configuration(
    ranks: dict[int, Ranks], model_paths: dict[str, str], folder: Path, spread: Spread, other: Spread
) -> None:
    """The settings of the checkpoint are ignored, for every parameter group."""
    path = model_paths["tied"]
    ranks[spread.ranks]("reload", spread.config(), path)
    train(ranks[spread.ranks], path, (1,))
    ranks[spread.ranks]("save", folder)
    config = other.config(grad_clip=0.7, betas=(0.8, 0.9))
    config.learner.weight_decay = 0.3
    ranks[other.ranks]("reload", config, path, folder)
    assert ranks[other.ranks]("optimizer_settings") == (0.7, [0.3, 0.0], [(0.8, 0.9)] * 2)


def test_count_of_skipped_steps_is_resumed(ranks: dict[int, Ranks], model_paths: dict[str, str], folder: Path) -> None:
    bad = random_groups(5, **GROUPS)
    for group in bad:
        group.advantages[:] = np.nan
    ranks[2]("reload", Spread(2, 3).config(), model_paths["tied"])
    train(ranks[2], model_paths["tied"], (1,))
    assert ranks[2]("train", bad, 2)["grad/skipped_in_a_row"] == 2
    ranks[2]("save", folder)
    for other in (Spread(2, 3), Spread(1, 3)):
        ranks[other.ranks]("reload", other.config(), model_paths["tied"], folder)
        assert ranks[other.ranks]("train", bad, 3)["grad/skipped_in_a_row"] == 4


@pytest.mark.parametrize("spread", [Spread(1, 1), Spread(2, 3, "bfloat16")])
def test_saved_rollouts_give_same_weights_bit_by_bit(
    ranks: dict[int, Ranks], model_paths: dict[str, str], spread: Spread
) -> None:
    path, learner, results = model_paths["tied"], ranks[spread.ranks], []
    rollouts = pickle.dumps([on_policy_groups(path, seed=step) for step in (1, 2, 3)])
    for _ in range(2):
        learner("reload", spread.config(), path)
        steps: list[list[Group]] = pickle.loads(rollouts)
        metrics = [learner("train", groups, step) for step, groups in enumerate(steps, start=1)]
        results.append((metrics, learner("publish", 3).checksum))
    assert results[0] == results[1]


def test_full_disk_does_not_stop_learner(ranks: dict[int, Ranks], model_paths: dict[str, str], small_disk: Path) -> None:
    path = model_paths["untied"]
    for spread in (Spread(2, 2), Spread(2, 3)):
        learner = ranks[spread.ranks]
        learner("reload", spread.config(), path)
        train(learner, path, (1,))
        (small_disk / "space").write_bytes(bytes(900 << 10))
        (folder := small_disk / "learner").mkdir()
        assert "No space left on device" in str(learner("save", folder))
        assert "MiB are missing" in str(learner("export", small_disk / "senior"))
        for left in small_disk.iterdir():
            left.unlink() if left.is_file() else shutil.rmtree(left)
        train(learner, path, (2,))


def test_learner_group_saves_and_resumes(ranks: dict[int, Ranks], model_paths: dict[str, str], folder: Path) -> None:
    path, config, segment = model_paths["tied"], Spread(1, 1).config(), folder.with_name("weights")
    ranks[1]("reload", config, path)
    train(ranks[1], path, (1, 2))
    ranks[1]("save", folder)
    with LearnerGroup(config, path, segment, saved=folder) as learner:
        assert learner.publish(2).checksum == ranks[1]("publish", 2).checksum
        assert segment.exists()
        (folder / "again" / "layout.json").mkdir(parents=True)  # where a file should go
        with pytest.raises(IsADirectoryError):
            learner.save(folder / "again")
        assert learner.update(on_policy_groups(path, seed=3), 3)["grad/norm"] > 0
    assert not segment.exists()
