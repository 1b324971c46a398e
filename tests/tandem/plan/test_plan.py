"""Tests of the plan that a command line gets, and of the remedies of one that does not fit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from copy import deepcopy
from io import StringIO
from pathlib import Path

import gguf
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.console import Console

from launch.cluster.plan import assumed_plan, print_plan
from launch.entry import configuration
from tandem.config.schema import Config, ConfigError
from tandem.models.zoo.smollm2 import SHAPE, packaged_weights
from tandem.plan.fit import longest_rollout, memory
from tandem.plan.placement import Demand, Node, Slot
from tandem.plan.remedies import changed
from tandem.plan.run_plan import RunPlan, cluster_plan, planned
from tandem.plan.sizes import Sizes, model_sizes
from tandem.runtime.weights import TRANSPORTS
from tests.support.plans import AWAKE, EIGHT_BILLION, FOUR_BILLION, four_billion


@pytest.fixture
def plan_for() -> Callable[..., str]:
    """Return the plan that a command line prints."""

    def shown(*overrides: str) -> str:
        terminal = StringIO()
        print_plan(assumed_plan(configuration(["plan_only=true", *overrides])), Console(width=200, file=terminal))
        return terminal.getvalue()

    return shown


def test_plan_for_eight_gpus(plan_for: Callable[..., str]) -> None:
    shown = plan_for("mode=cluster", "cluster.gpus=8")
    assert "replica 0: senior" in shown and "replica 0: junior" in shown and "learner rank 0" in shown
    assert "5 of 8 GPUs are idle; there is room for rollout.replicas=3" in shown


def test_plan_for_64_gpus(plan_for: Callable[..., str]) -> None:
    sizes = ("rollout.replicas=16", "rollout.senior_tensor_parallel=2", "learner.ranks=16", "learner.zero_stage=3")
    shown = plan_for("mode=cluster", "cluster.gpus=64", "model=qwen3_4b", "data=jsonl", "data.path=x", *sizes)
    assert "replica 15: senior over 2 GPUs" in shown and "all 64 GPUs are used" in shown


def test_plan_for_one_shared_gpu(plan_for: Callable[..., str]) -> None:
    shown = plan_for("mode=local", "cluster.gpus=1", "cluster.gpu_gib=141", "model=qwen3_4b", "data=jsonl", "data.path=x")
    assert shown.count("this machine") == 3 and "all 1 GPUs are used" in shown
    assert "engines sleep during updates" in shown and " between updates" in shown


def test_run_that_does_not_learn_needs_no_rank_on_cluster() -> None:
    sizes = ["model=qwen3_4b", "data=jsonl", "data.path=x"]
    config, nodes = configuration(["plan_only=true", "mode=cluster", "cluster.gpus=8", *sizes]), [Node("a", 8, 80.0)]
    with pytest.raises(ConfigError, match=r"^learner.ranks=1: a rank needs 74.1 GiB"):
        cluster_plan(config, nodes, model_sizes(config))
    plan = cluster_plan(config, nodes, model_sizes(config), learns=False)
    assert {slot.role for slot in plan.slots} == {"senior", "junior"} and "learner" not in str(plan.demand)
    config.rollout.replicas = 5
    with pytest.raises(ConfigError, match=r"2 GPU.s. are missing: .* which is enough for 4 .*use fewer replicas, add"):
        cluster_plan(config, nodes, model_sizes(config), learns=False)


def test_plan_chooses_unset_memory_fractions() -> None:
    config = configuration(["plan_only=true", "mode=local", "cluster.gpus=1"])
    decided = planned(config, assumed_plan(config))
    assert 0 < decided.rollout.gpu_memory_fraction < 0.5 and decided.mode.name == "local"
    config.rollout.gpu_memory_fraction, config.rollout.junior_gpu_memory_fraction = 0.3, 0.1
    decided = planned(config, assumed_plan(config))
    assert (decided.rollout.gpu_memory_fraction, decided.rollout.junior_gpu_memory_fraction) == (0.3, 0.1)
    config.rollout.gpu_memory_fraction = 0.0
    with pytest.raises(ConfigError, match=r"^rollout.junior_gpu_memory_fraction=0.1: .*; give rollout.gpu_memory_fraction too"):
        assumed_plan(config)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["mode=cluster", "cluster.gpus=2"], "1 GPU.s. are missing: .*1 x .senior 1 . junior 1. .* or choose mode=local"),
        (["mode=cluster", "cluster.gpus=4", "rollout.replicas=5"], "7 GPU.s. are missing: .* enough for 1 replica"),
        (
            ["mode=cluster", "cluster.gpus=16", "rollout.senior_tensor_parallel=8"],
            "rollout.senior_tensor_parallel=8: .* need 9 of its GPUs; the largest of 2 node.s. with 8 . 8 GPUs has 8",
        ),
        (
            ["mode=cluster", "cluster.gpus=16", "rollout.senior_tensor_parallel=4", "rollout.replicas=3"],
            "rollout.replicas=3: each needs 5 GPUs of one node, and .* have room for 2",
        ),
        (["mode=cluster"], "cluster.gpus=0: plan_only=true with mode=cluster .* give their number"),
        (
            ["mode=local", "cluster.gpus=1", "rollout.junior_tensor_parallel=2"],
            "rollout.junior_tensor_parallel=2: .*mode=cluster",
        ),
        (
            ["mode=local", "cluster.gpus=1", "model=qwen3_4b"],
            "needs at least .* use learner.zero_stage=1 learner.offload_optimizer",
        ),
        (
            ["mode=local", "cluster.gpus=1", "cluster.gpu_gib=100", "model=qwen3_4b", "rollout.sleep=false"],
            "needs at least .* use rollout.sleep=true, so that engines sleep during updates",
        ),
        (
            ["mode=local", "cluster.gpus=1", "cluster.gpu_gib=100", "model=qwen3_4b", "rollout.max_staleness=1"],
            "needs at least .* use rollout.max_staleness=0, so that engines sleep",
        ),
        (
            ["mode=local", "cluster.gpus=1", "cluster.gpu_gib=100", "model=qwen3_4b", *AWAKE],
            "needs at least .* use rollout.max_staleness=0 rollout.sleep=true, so that",
        ),
        (
            ["mode=local", "cluster.gpus=1", "cluster.gpu_gib=90", "model=qwen3_4b"],
            "a rank of the learner 74.1 GiB while it learns beside 2.0 GiB of sleeping engines, and 68.9 GiB while they write; "
            "use learner.zero_stage=2, which needs GPUs of 84 GiB, or GPUs of 141 GiB$",
        ),
        (
            ["mode=local", "cluster.gpus=2", "cluster.gpu_gib=60", "model=qwen3_4b"],
            "learner.ranks=1: a rank needs .* of 60 GiB",
        ),
        (
            ["mode=cluster", "cluster.gpus=8", "model=qwen3_4b"],
            "learner.ranks=1: a rank needs .*; use learner.ranks=2, which needs GPUs of 57 GiB, or GPUs of 96 GiB$",
        ),
        (
            ["mode=cluster", "cluster.gpus=8", "model=qwen3_4b", "cluster.gpu_gib=10"],
            "rollout.senior_tensor_parallel=1: .* needs .* gets 0.90 of 10 GiB; use rollout.senior_tensor_parallel=2",
        ),
        (["mode=cluster", "cluster.gpus=8", "model=hf", "model.path=/no/model"], "model.path=/no/model: .* give model.shape"),
        (
            ["mode=cluster", "cluster.gpus=8", "model=qwen3_4b", "learner.ranks=3", "learner.sequence_parallel=3"],
            "learner.sequence_parallel=3: it has 32 attention heads, 8 of them for keys; choose one of 1, 2, 4, 8, 16, 32$",
        ),
    ],
)
def test_plan_that_does_not_fit_is_refused_with_remedy(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        assumed_plan(configuration(["plan_only=true", "data=jsonl", "data.path=x", *overrides]))


LONG_ROLLOUTS = [
    *("mode=cluster", "cluster.gpus=8", "model=qwen3_4b", "model.dtype=bfloat16", "learner.dtype=bfloat16"),
    "rollout.sampling.max_tokens=120000",
]
UNREAD_MODEL = ["model=hf", "model.path=org/name", EIGHT_BILLION]
"""The overrides for a model of which no file is read."""


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        # With one replica, fewer replicas are no remedy.
        (["mode=local", "cluster.gpus=1", "cluster.gpu_gib=24", "rollouts_only=true", "schedule=solo"], "model.dtype=bfloat16"),
        # Idle GPUs are used before the CPU's memory.
        (
            ["mode=cluster", "cluster.gpus=8", "model.dtype=bfloat16", "learner.dtype=bfloat16"],
            "learner.ranks=4 learner.zero_stage=3",
        ),
        # A micro-batch is never smaller than the longest rollout.
        (
            ["mode=local", "cluster.gpus=1", "model=qwen3_4b", "schedule=solo"],
            "learner.zero_stage=2 learner.micro_batch_tokens=4023 learner.logprob_chunk_tokens=256",
        ),
        (
            ["mode=local", "cluster.gpus=2", "cluster.gpu_gib=40", "rollouts_only=true", "schedule=solo", "rollout.replicas=4"],
            "rollout.replicas=2",
        ),
        (["mode=local", "cluster.gpus=1", "cluster.gpu_gib=24"], "no setting makes room: use GPUs of "),
        # Ranks split sequences only where nothing milder is enough.
        (
            [*LONG_ROLLOUTS, "cluster.gpu_gib=40"],
            "learner.ranks=4 learner.sequence_parallel=4 learner.zero_stage=3",
        ),
        ([*LONG_ROLLOUTS, "cluster.gpu_gib=80"], "learner.ranks=2, "),
    ],
)
def test_remedy_makes_plan_fit(overrides: list[str], remedy: str) -> None:
    given = ["plan_only=true", *([] if "model=qwen3_4b" in overrides else UNREAD_MODEL), *overrides]
    with pytest.raises(ConfigError) as refused:
        assumed_plan(configuration(given))
    named = str(refused.value).rpartition("; ")[2]
    assert named.removeprefix("use ").startswith(remedy)
    if not named.startswith("no setting"):
        assumed_plan(configuration([*given, *named.removeprefix("use ").split(",")[0].split(" ")]))


@pytest.mark.seconds
@given(
    gib=st.sampled_from([16, 24, 40, 80]),
    gpus=st.sampled_from([1, 2, 8, 16]),
    mode=st.sampled_from(["local", "cluster"]),
    replicas=st.integers(1, 3),
    dtype=st.sampled_from(["float32", "bfloat16"]),
    stage=st.integers(1, 3),
    max_tokens=st.integers(1, 8000),
)
@settings(max_examples=25)
def test_every_suggested_remedy_makes_plan_fit(
    gib: int, gpus: int, mode: str, replicas: int, dtype: str, stage: int, max_tokens: int
) -> None:
    config = deepcopy(four_billion())
    config.plan_only, config.mode.name, config.cluster.gpus, config.cluster.gpu_gib = True, mode, gpus, float(gib)
    config.rollout.replicas, config.model.dtype, config.learner.dtype = replicas, dtype, dtype
    config.learner.zero_stage, config.rollout.sampling.max_tokens = stage, max_tokens
    try:
        assumed_plan(config)
    except ConfigError as error:
        named = str(error).rpartition("; use ")[2].partition(",")[0].split(" ")
        assume(all(re.fullmatch(r"[a-z_.]+=\S+", setting) for setting in named))
        changes = {key: yaml.safe_load(value) for key, value in (setting.split("=") for setting in named)}
        assumed_plan(changed(config, changes))


def test_rollout_longer_than_micro_batch_is_counted_alone() -> None:
    config = deepcopy(four_billion())
    whole = memory(config, Sizes(FOUR_BILLION, (FOUR_BILLION,))).rank.activations
    config.learner.micro_batch_tokens = longest = longest_rollout(config)
    alone = memory(config, Sizes(FOUR_BILLION, (FOUR_BILLION,))).rank.activations
    config.learner.micro_batch_tokens = 64
    assert memory(config, Sizes(FOUR_BILLION, (FOUR_BILLION,))).rank.activations == alone < whole
    assert longest == 1024 + 3000 - 1


@pytest.mark.parametrize(
    ("overrides", "parameters"),
    [
        (["model=smollm2"], {134_515_008}),
        (["model.recipe=jargon", "junior=[zoo:plain,self]"], {589_824 + 384 * 128 + 4_000}),
    ],
)
def test_zoo_models_are_planned_without_being_built(overrides: list[str], parameters: set[int], tmp_path: Path) -> None:
    given = ["plan_only=true", "mode=local", "cluster.gpus=1", f"cache_dir={tmp_path}", *overrides]
    config = configuration(given)
    assert assumed_plan(config).on_gpus and not list(tmp_path.iterdir())
    sizes = model_sizes(config)
    assert {round(size.parameters, -4) for size in (sizes.senior, *sizes.juniors)} == {round(one, -4) for one in parameters}


@pytest.mark.seconds
def test_packaged_model_has_size_of_its_file() -> None:
    fields = gguf.GGUFReader(packaged_weights()).fields
    said = {name: fields[f"llama.{key}"].contents() for name, key in SMOLLM2_KEYS.items()}
    assert {name: getattr(SHAPE, name) for name in said} == said


SMOLLM2_KEYS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "intermediate_size": "feed_forward_length",
    "vocab_size": "vocab_size",
}


@pytest.mark.parametrize(
    ("claims", "gpus", "fitting"),
    [(0, 0, "shm"), (0, 2, "shm"), (1, 2, "nccl"), (1, 8, "nccl"), (2, 1, "ipc"), (4, 1, "ipc"), (2, 2, "shm")],
)
def test_transport_fits_plan(claims: int, gpus: int, fitting: str) -> None:
    slots = (Slot("senior", 0, 0, (0,) if claims else ()),)
    plan = RunPlan("local", (Node("this machine", gpus),), Demand((1,), 1, 1), slots, claims_per_gpu=claims or 1)
    config = Config()
    assert plan.transport(config) == fitting
    for config.learner.transport in TRANSPORTS:
        if config.learner.transport in (fitting, "shm"):
            assert plan.transport(config) == config.learner.transport
        else:
            message = f"learner.transport={config.learner.transport}: .*; choose auto or {fitting}"
            with pytest.raises(ConfigError, match=message):
                plan.transport(config)
    config.learner.lora.sync = "adapter"
    assert plan.transport(config) == "shm"


def test_unreachable_hub_is_reported_at_once() -> None:
    start = time.monotonic()
    with pytest.raises(ConfigError, match="model.path=org/name: .* name a local directory, or .*HF_HUB_OFFLINE.* model.shape"):
        model_sizes(configuration(["model=hf", "model.path=org/name"]))
    assert time.monotonic() - start < 10


def test_only_plan_only_assumes_gpus() -> None:
    with pytest.raises(ConfigError, match="cluster.gpus=8: only a plan assumes GPUs; add plan_only=true"):
        configuration(["cluster.gpus=8"])
