"""Tests of the engines of a run: specs, seeds, cores, GPUs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine_layout import engine_specs, reseeded, share_of_cores
from actors.engine_spec import EngineSpec, visible_gpus
from launch.cluster.nodes import NodeFacts
from launch.cluster.plan import run_plan
from launch.cluster.reservation import engine_cores
from launch.entry import configuration
from tandem.authors import Authors, Junior, JuniorTokenizer
from tandem.config.learner import LoraConfig
from tandem.config.rollout import RolloutConfig
from tandem.config.schema import Config, ConfigError
from tandem.plan.placement import Node
from tandem.plan.run_plan import cluster_plan
from tandem.rollout import JUNIOR, SENIOR
from tests.support.builders import foreign_tokenizer, small_tokenizer


@pytest.fixture
def settings() -> Config:
    """The configuration of a run, which tests change."""
    return Config()


@pytest.fixture
def pair() -> Authors:
    """Two authors without real models."""
    return Authors(
        senior=Path("senior"),
        juniors=(Junior(Path("junior"), 1.0, "bfloat16", 321),),
        tokenizer=small_tokenizer(),
        senior_vocabulary=321,
        senior_parameters=1000,
        vocabulary=321,
        eos_ids=(1, 5),
        boundaries=np.arange(321) % 3 == 0,
        context=161,
    )


def all_specs(config: Config, authors: Authors) -> list[EngineSpec]:
    return [spec for replica in engine_specs(config, authors, "cpu") for spec in replica]


@given(count=st.integers(1, 64), engines=st.integers(1, 16))
def test_cores_are_shared_fairly(count: int, engines: int) -> None:
    cores = list(range(100, 100 + count))
    shares = [share_of_cores(cores, index, engines) for index in range(engines)]
    used = [core for share in shares for core in share]
    assert set(used) <= set(cores)
    if engines <= count:
        assert len(set(used)) == len(used), "engines share no core"
        assert {len(share) for share in shares} == {count // engines}
    else:
        assert {len(share) for share in shares} == {1}
        load = [used.count(core) for core in cores]
        assert max(load) - min(load) <= 1


def test_junior_with_another_tokenizer_keeps_its_vocabulary(settings: Config, pair: Authors) -> None:
    stops = np.arange(50) % 5 == 0
    own = JuniorTokenizer(foreign_tokenizer(), "word", stops, eos_ids=(7,), context=300)
    foreign = replace(pair, juniors=(replace(pair.juniors[0], translation=own),))
    senior, junior = all_specs(settings, foreign)
    assert np.array_equal(junior.boundaries(), stops)
    assert (junior.unit, junior.vocabulary, junior.eos_ids, junior.max_model_len) == ("word", 50, (7,), 300)
    assert junior.stream_interval == 300, "a word is sent when it is complete"
    assert np.array_equal(senior.boundaries(), pair.boundaries)
    assert (senior.unit, senior.vocabulary, senior.eos_ids, senior.max_model_len) == (None, 321, (1, 5), 161)


@pytest.mark.parametrize("replicas", [1, 3])
def test_every_replica_has_senior_and_junior(settings: Config, pair: Authors, replicas: int) -> None:
    settings.rollout.replicas = replicas
    specs = engine_specs(settings, pair, "cpu")
    assert [[spec.author for spec in replica] for replica in specs] == [[SENIOR, JUNIOR]] * replicas
    assert [[spec.model for spec in replica] for replica in specs] == [["senior", "junior"]] * replicas
    assert [[spec.dtype for spec in replica] for replica in specs] == [["float32", "bfloat16"]] * replicas


@pytest.mark.parametrize("engines", ["pair", "shared"])
def test_adapter_and_the_number_of_engines(settings: Config, pair: Authors, engines: str) -> None:
    settings.rollout.engines = engines
    assert [spec.lora_rank for spec in all_specs(settings, pair)] == [0, 0], "engines without a learner load whole weights"
    (senior, *juniors) = engine_specs(settings, pair, "cpu", lora=LoraConfig(rank=4, alpha=6.0))[0]
    assert (senior.lora_rank, senior.lora_alpha, senior.shared) == (4, 6.0, engines == "shared")
    assert len(juniors) == (engines == "pair") and not any(spec.lora_rank for spec in juniors)
    assert senior.max_num_seqs == settings.rollout.max_in_flight * senior.sessions


@pytest.fixture
def trio(pair: Authors, settings: Config) -> Authors:
    """A senior and two juniors."""
    settings.junior = ["junior", "another"]
    return replace(pair, juniors=(*pair.juniors, Junior(Path("another"), 2.0, "float32", 321)))


def test_every_replica_has_each_of_juniors(settings: Config, trio: Authors) -> None:
    settings.rollout.replicas = 2
    for replica in engine_specs(settings, trio, "cpu"):
        found = [(spec.author, spec.junior, spec.model, spec.dtype) for spec in replica]
        assert found == [
            (SENIOR, 0, "senior", "float32"),
            (JUNIOR, 0, "junior", "bfloat16"),
            (JUNIOR, 1, "another", "float32"),
        ]


def test_engines_have_different_seeds(settings: Config, trio: Authors) -> None:
    settings.rollout.replicas = 4
    by_run = []
    for settings.seed in (1, 2):
        by_run += [spec.seed for spec in all_specs(settings, trio)]
        by_run += [spec.seed for specs in engine_specs(settings, trio, "cpu", first_version=20) for spec in specs]
        for before in (1, 2):
            by_run += [spec.seed for specs in engine_specs(settings, trio, "cpu") for spec in reseeded(specs, before)]
    assert len(set(by_run)) == 96, "engines of resumed runs and restarted engines have new seeds too"


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one GPU of 80 GiB."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: SimpleNamespace(total_memory=80 * 2**30))


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize(("schedule", "juniors", "engines"), [("word", 1, 2), ("word", 3, 4), ("solo", 3, 1)])
def test_memory_fractions_above_one_gpu_are_refused(schedule: str, juniors: int, engines: int) -> None:
    settings = configuration(["mode=local", f"schedule={schedule}"])
    settings.junior = ["self"] * juniors
    settings.rollout.gpu_memory_fraction = 0.9 / engines
    plan = run_plan(settings)
    assert plan.gpus_per_replica == plan.gpus_per_rank == 0.5, "the learner has the other half"
    settings.rollout.gpu_memory_fraction = 1 / engines
    with pytest.raises(ConfigError, match=f"up to {engines} engines share a GPU"):
        run_plan(settings)


@pytest.mark.parametrize(("own_gpus", "expected"), [(True, [(0, 1), (2,), (3,)]), (False, [(), (), ()])])
def test_engines_with_own_gpus_use_consecutive_gpus(
    settings: Config, trio: Authors, own_gpus: bool, expected: list[tuple[int, ...]]
) -> None:
    settings.rollout.senior_tensor_parallel = 2
    (replica,) = engine_specs(settings, trio, "cuda", own_gpus=own_gpus)
    assert [spec.gpus for spec in replica] == expected


def test_engine_sees_its_share_of_gpus() -> None:
    assert visible_gpus((2, 3), "1,4,GPU-a,GPU-b") == "GPU-a,GPU-b"


def test_engines_are_bound_to_given_cores(settings: Config, pair: Authors) -> None:
    settings.rollout.replicas = 2
    cores = [(4,), (5,), (8, 9), (10, 11)]
    specs = engine_specs(settings, pair, "cpu", cores=cores)
    assert [spec.cores for replica in specs for spec in replica] == cores


def test_nodes_of_one_machine_divide_its_cores() -> None:
    plan = cluster_plan(replace(Config(), rollout=RolloutConfig(replicas=3)), [Node("a", 0), Node("b", 0), Node("c", 0)], None)
    here, there = NodeFacts((0, 1, 2, 3), "one", ()), NodeFacts((0, 1, 2, 3), "other", ())
    assert engine_cores(plan, [here, here, there], 0) == [(0,), (1,), (2,), (3,), (0, 1), (2, 3)]
    assert engine_cores(plan, [here, here, there], 2) == [(0,), (1,), (0,), (1,), (0,), (1,)]


def test_only_senior_receives_weights(settings: Config, pair: Authors) -> None:
    senior, junior = engine_specs(settings, pair, "cuda", transport="nccl")[0]
    assert (senior.transport, junior.transport) == ("nccl", "shm")


@pytest.mark.parametrize(("name", "prob_senior"), [("solo", 0.5), ("word", 1.0)])
def test_solo_has_no_junior(settings: Config, pair: Authors, name: str, prob_senior: float) -> None:
    settings.schedule.name, settings.schedule.prob_senior, settings.rollout.replicas = name, prob_senior, 2
    assert [spec.author for spec in all_specs(settings, pair)] == [SENIOR, SENIOR]


def test_run_uses_only_its_cores(settings: Config, pair: Authors) -> None:
    mine = sorted(os.sched_getaffinity(0))
    everything = {core for spec in all_specs(settings, pair) for core in spec.cores}
    assert everything <= set(mine)
    settings.mode.cpu_cores = 1
    assert {core for spec in all_specs(settings, pair) for core in spec.cores} == {mine[0]}


def test_engines_have_same_vocabulary(settings: Config, pair: Authors) -> None:
    settings.rollout.max_in_flight = 7
    for spec in all_specs(settings, pair):
        assert np.array_equal(spec.boundaries(), pair.boundaries)
        assert (spec.vocabulary, spec.eos_ids, spec.max_model_len) == (321, (1, 5), 161)
        assert spec.max_num_seqs == 7
