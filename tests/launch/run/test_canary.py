"""The canary in whole runs on lockstep engines: silent in a right run, it finds the first sync that an engine misses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from actors.replicas import ReplicaSet
from actors.rollout_pool import RolloutPool
from launch.cluster.reservation import Placements
from launch.run.inputs import Inputs
from tandem.config.schema import Config
from tandem.guards import GuardError
from tandem.rollout import SENIOR
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.segment import WeightSegment
from tandem.runtime.weights import PublishedWeights
from tests.support.lockstep import Lockstep
from tests.support.lockstep_runs import rows, run


class Negligent(Lockstep):
    """Engines that load only the weights whose names begin with `loaded` from version 2 on, and report every version."""

    loaded = ""

    def receive_weights(self, published: PublishedWeights) -> int:
        if published.version < 2:
            return super().receive_weights(published)
        tensors = WeightSegment(published.path, published.layout).tensors()
        kept = {name: tensor.clone() for name, tensor in tensors if self.loaded and name.startswith(self.loaded)}
        self._models[SENIOR].load_state_dict(kept, strict=False)
        self._versions[SENIOR] = published.version
        return published.version


class HalfLoading(Negligent):
    loaded = "model.layers"


def test_right_run_has_a_canary_gap_of_rounding_in_every_step(whole_run: Path) -> None:
    assert all(row["weights/canary_gap"] < 1e-4 for row in rows(whole_run)[1:])


@pytest.mark.usefixtures("warm_learner")
@pytest.mark.parametrize(("engines", "max_staleness"), [(Negligent, 0), (HalfLoading, 1)])
def test_missed_weight_sync_stops_run_at_once(
    lockstep_settings: Config, tmp_path: Path, engines: type[Lockstep], max_staleness: int
) -> None:
    def start(inputs: Inputs, done: int, budget: RestartBudget, placements: Placements) -> RolloutPool:
        return RolloutPool(inputs.config, ReplicaSet([engines(inputs.authors)], inputs.config.guard, budget))

    config = replace(
        lockstep_settings,
        name="negligent",
        log=replace(lockstep_settings.log, dir=str(tmp_path)),
        rollout=replace(lockstep_settings.rollout, max_staleness=max_staleness),
    )
    with pytest.raises(GuardError, match=r"weights/canary_gap=.* an engine did not load the update, or only a part of it"):
        run(config, start)
    assert [row["step"] for row in rows(tmp_path / "negligent")] == [0, 1]
