"""Tests of the plan of a run: placement, memory, and the errors of a plan that does not fit."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import gguf
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.console import Console
from transformers import LlamaConfig, Qwen3Config

from launch.cluster.plan import assumed_plan, print_plan
from launch.entry import configuration
from tandem.config.learner import LearnerConfig, LoraConfig
from tandem.config.schema import Config, ConfigError
from tandem.models.zoo.smollm2 import SHAPE, packaged_weights
from tandem.plan.fit import DoesNotFit, fractions_shared, longest_rollout, memory
from tandem.plan.memory import (
    ENGINE_ASLEEP_GIB,
    RANK_OVERHEAD_GIB,
    STEPPED_AT_ONCE,
    USABLE,
    engine_memory,
    rank_memory,
)
from tandem.plan.placement import Demand, Node, most_replicas, place, share_out, spread
from tandem.plan.remedies import changed
from tandem.plan.run_plan import planned
from tandem.plan.sharing import claims_per_gpu
from tandem.plan.sizes import ModelSize, Sizes, model_size, model_sizes

AWAKE = ("rollout.max_staleness=1", "rollout.sleep=false")
FOUR_BILLION = ModelSize(parameters=4_022_468_096, layers=36, hidden=2560, vocabulary=151_936, kv_values=2 * 36 * 8 * 128)

demands = st.builds(
    Demand,
    engines=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    replicas=st.integers(1, 12),
    ranks=st.integers(1, 16),
)
clusters = st.lists(st.integers(0, 8), min_size=1, max_size=10).map(
    lambda gpus: [Node(f"node {index}", count) for index, count in enumerate(gpus)]
)


@pytest.fixture
def plan_for() -> Callable[..., str]:
    """Return the plan that a command line prints."""

    def shown(*overrides: str) -> str:
        terminal = StringIO()
        print_plan(assumed_plan(configuration(["plan_only=true", *overrides])), Console(width=200, file=terminal))
        return terminal.getvalue()

    return shown


@cache
def four_billion() -> Config:
    """The configuration of a run of a model with four billion parameters."""
    return configuration(["model=qwen3_4b", "data=jsonl", "data.path=x"])


# Placement


@given(demand=demands, nodes=clusters)
def test_every_process_has_gpus_or_error_names_missing_ones(demand: Demand, nodes: list[Node]) -> None:
    fits = demand.replicas <= sum(node.gpus // demand.replica for node in nodes) and demand.total <= sum(
        node.gpus for node in nodes
    )
    if not fits:
        with pytest.raises(ConfigError, match="^(mode.name=cluster|rollout.senior_tensor_parallel=|rollout.replicas=)"):
            place(demand, nodes)
        return
    slots = place(demand, nodes)
    given_out = Counter((slot.node, gpu) for slot in slots for gpu in slot.gpus)
    assert max(given_out.values()) == 1
    assert all(gpu < nodes[node].gpus for node, gpu in given_out)
    assert sum(given_out.values()) == demand.total
    for replica in range(demand.replicas):
        engines = [slot for slot in slots if slot.role != "learner" and slot.owner == replica]
        assert [len(slot.gpus) for slot in engines] == list(demand.engines)
        assert len({slot.node for slot in engines}) == 1, "one process drives a replica's engines"
    assert [slot.owner for slot in slots if slot.role == "learner"] == list(range(demand.ranks))


@given(demand=demands, nodes=clusters)
def test_most_replicas_is_largest_placeable_number(demand: Demand, nodes: list[Node]) -> None:
    assume((most := most_replicas(demand, nodes)) > 0)
    place(Demand(demand.engines, most, demand.ranks), nodes)
    with pytest.raises(ConfigError):
        place(Demand(demand.engines, most + 1, demand.ranks), nodes)


def test_learner_has_its_own_node_if_possible() -> None:
    slots = place(Demand((2, 2), replicas=2, ranks=8), [Node("a", 8), Node("b", 8)])
    assert {slot.node for slot in slots if slot.role == "learner"} == {1}


@given(demand=demands, nodes=clusters)
def test_every_cpu_node_has_replica(demand: Demand, nodes: list[Node]) -> None:
    slots = spread(demand, nodes)
    homes = Counter(slot.node for slot in slots if slot.role == "senior")
    assert len(homes) == min(demand.replicas, len(nodes)) and max(homes.values()) - min(homes.values()) <= 1
    assert {slot.node for slot in slots if slot.role == "learner"} == {0}


@given(replicas=st.integers(1, 9), ranks=st.integers(0, 4), gpus=st.integers(1, 8))
def test_shared_gpus_hold_at_most_planned_claims(replicas: int, ranks: int, gpus: int) -> None:
    wanted = Demand((1, 1), replicas, ranks)
    if ranks > 1 and replicas + ranks > gpus:
        with pytest.raises(ConfigError, match="learner.ranks="):
            claims_per_gpu(wanted, gpus)
        return
    each = claims_per_gpu(wanted, gpus)
    slots = share_out(wanted, gpus, each)
    claims = Counter(slot.gpus[0] for slot in slots if slot.role != "junior")
    assert max(claims.values()) <= each and set(claims) <= set(range(gpus))


# Memory


@pytest.mark.parametrize("kind", [Qwen3Config, LlamaConfig])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_from_shape(kind: type, tied: bool) -> None:
    shape = kind(
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=128,
        vocab_size=1000,
        tie_word_embeddings=tied,
    )
    size = model_size(shape)
    layer = 64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 128 + 2 * 64 + 2 * 16 * (kind is Qwen3Config)
    assert size.parameters == 3 * layer + 64 + 1000 * 64 * (1 if tied else 2)
    assert size.kv_values == 2 * 3 * 2 * 16


def test_published_model_has_size_of_its_name() -> None:
    config = configuration(["model=qwen3_4b", "data=jsonl", "data.path=x"])
    assert model_sizes(config).senior == FOUR_BILLION


def test_adapter_has_two_factors_for_every_linear_layer_but_the_head() -> None:
    settings = ["model=hf", "model.path=x", "data=jsonl", "data.path=x", "learner.lora.rank=4"]
    small = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    settings += [
        f"+model.shape.{key}={value}" for key, value in (small | {"intermediate_size": 128, "vocab_size": 1000}).items()
    ]
    attention, mlp = [(64, 64), (64, 32), (64, 32), (64, 64)], [(64, 128), (64, 128), (128, 64)]
    sizes = model_sizes(configuration(settings))
    assert sizes.senior.adapter == 3 * 4 * sum(inner + outer for inner, outer in attention + mlp)
    assert sizes.senior.adapter_inputs == 3 * sum(inner for inner, _ in attention + mlp)
    assert sizes.juniors[0].adapter == 0
    some = model_sizes(configuration([*settings, "learner.lora.targets=[down_proj,q_proj]"]))
    assert some.senior.adapter == 3 * 4 * (128 + 64 + 64 + 64)
    with pytest.raises(
        ConfigError, match=r"learner.lora.targets=\['up'\]: .* no linear layer up .* choose among down_proj, gate"
    ):
        model_sizes(configuration([*settings, "learner.lora.targets=[up]"]))


@pytest.mark.parametrize("stage", range(4))
def test_frozen_base_takes_its_weights_and_no_more(stage: int) -> None:
    lora = LearnerConfig(zero_stage=stage, dtype="bfloat16", publish_bucket_mib=0, lora=LoraConfig(rank=16))
    size = replace(FOUR_BILLION, adapter=30_000_000)
    found, whole = rank_memory(size, lora), rank_memory(FOUR_BILLION, replace(lora, lora=LoraConfig()))
    adapter = size.adapter / 2**30
    assert found.weights - whole.weights == pytest.approx(4 * adapter)
    assert (found.gradients, found.optimizer) == pytest.approx((4 * adapter, (12 if stage else 8) * adapter))
    assert found.buffers <= 4 * adapter


@pytest.mark.parametrize(
    ("reference", "junior", "copies"),
    [("base", "self", 0), ("junior", "self", 0), ("junior", "zoo:plain", 1), ("base", "zoo:plain", 0)],
)
def test_reference_that_is_the_base_of_an_adapter_takes_no_memory(reference: str, junior: str, copies: int) -> None:
    settings = [f"junior=[{junior}]", "algo.kl_coef=0.1", f"algo.kl_reference={reference}"]
    config = configuration([*settings, "learner.lora.rank=4"])
    sizes = model_sizes(config)
    without = rank_memory(sizes.senior, config.learner, longest=longest_rollout(config))
    expected = 4 * copies * sizes.juniors[0].parameters / 2**30
    assert memory(config, sizes).rank.weights - without.weights == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "copied"),
    [
        ({"zero_stage": 0}, 0),
        ({"zero_stage": 1}, FOUR_BILLION.parameters),
        ({"zero_stage": 2, "ranks": 2}, FOUR_BILLION.parameters / 2),
        ({"zero_stage": 3}, STEPPED_AT_ONCE),
        ({"zero_stage": 3, "ranks": 8}, FOUR_BILLION.parameters / 8),
        ({"zero_stage": 3, "offload_optimizer": True}, 0),
        ({"zero_stage": 1, "dtype": "bfloat16"}, 0),
        ({"zero_stage": 2, "dtype": "bfloat16"}, 0),
        ({"zero_stage": 3, "dtype": "bfloat16"}, STEPPED_AT_ONCE),
    ],
)
def test_gradients_copied_for_step_count_once_activations_are_freed(settings: dict[str, Any], copied: float) -> None:
    few, many = (
        rank_memory(FOUR_BILLION, LearnerConfig(micro_batch_tokens=tokens, logprob_chunk_tokens=1, **settings))
        for tokens in (1, 1 << 20)
    )
    assert few.activations == pytest.approx(4 * copied / 2**30, abs=0.01)
    assert many == replace(few, activations=many.activations) and many.activations > 4 * STEPPED_AT_ONCE / 2**30


def test_sizes_are_read_from_model_directory(tmp_path: Path) -> None:
    Qwen3Config(hidden_size=64, num_hidden_layers=2, vocab_size=500, tie_word_embeddings=True).save_pretrained(tmp_path)
    config = configuration(["model=hf", f"model.path={tmp_path}", "data=jsonl", "data.path=x", f"junior=[{tmp_path},self]"])
    sizes = model_sizes(config)
    assert (sizes.senior.hidden, sizes.senior.layers, sizes.senior.vocabulary) == (64, 2, 500)
    assert sizes.juniors == (sizes.senior, sizes.senior)


def test_zero_stage_divides_memory_over_ranks() -> None:
    def rank(**settings: object) -> list[float]:
        found = rank_memory(FOUR_BILLION, LearnerConfig(dtype="bfloat16", **settings))  # type: ignore[arg-type]
        return [found.weights, found.gradients, found.optimizer]

    weights, gradients, optimizer = rank(zero_stage=1)
    assert [round(gib, 1) for gib in (weights, gradients, optimizer)] == [7.5, 15.0, 45.0]
    assert rank(zero_stage=1, ranks=4) == [weights, gradients, optimizer / 4]
    assert rank(zero_stage=2, ranks=4) == [weights, gradients / 4, optimizer / 4]
    assert rank(zero_stage=3, ranks=4, publish_bucket_mib=0) == [weights / 4, gradients / 4, optimizer / 4]
    assert rank(zero_stage=1, offload_optimizer=True) == [weights, gradients, 0]
    one, two, three, offloaded = (
        rank_memory(FOUR_BILLION, LearnerConfig(dtype="bfloat16", **settings))  # type: ignore[arg-type]
        for settings in ({"zero_stage": 1}, {"zero_stage": 2}, {"zero_stage": 3}, {"zero_stage": 1, "offload_optimizer": True})
    )
    assert one.buffers == 0 < two.buffers == three.buffers == offloaded.buffers / 2
    assert one.between_updates - two.between_updates == pytest.approx(gradients)
    assert offloaded.between_updates == pytest.approx(weights + RANK_OVERHEAD_GIB)


@given(
    gib=st.floats(20, 200),
    replicas=st.integers(1, 3),
    juniors=st.integers(1, 3),
    learner=st.booleans(),
    sleep=st.booleans(),
    stage=st.integers(1, 3),
    in_flight=st.integers(1, 256),
)
def test_shared_gpu_is_never_overcommitted(
    gib: float, replicas: int, juniors: int, learner: bool, sleep: bool, stage: int, in_flight: int
) -> None:
    config = deepcopy(four_billion())
    config.rollout.max_in_flight, config.junior, config.learner.zero_stage = in_flight, ["self"] * juniors, stage
    sizes = Sizes(FOUR_BILLION, (FOUR_BILLION,) * juniors)
    found = memory(config, sizes)
    writing, learning = 0.0, 0.0
    """memory of the rank and the engines while engines write, and while the rank learns"""
    if learner and sleep:
        writing, learning = found.rank.between_updates, found.rank.total + replicas * (1 + juniors) * ENGINE_ASLEEP_GIB
    elif learner:
        writing = found.rank.total
    needed = max(replicas * sum(engine.least for engine in found.engines) + writing, learning)
    assume(abs(needed - USABLE * gib) > 1e-6)
    if needed > USABLE * gib:
        with pytest.raises(DoesNotFit, match="is too small for all"):
            fractions_shared(config, sizes, gib, replicas, learner=learner, sleep=sleep)
        return
    fractions = fractions_shared(config, sizes, gib, replicas, learner=learner, sleep=sleep)
    taken = replicas * (fractions.senior + juniors * fractions.junior) * gib + writing
    assert taken <= USABLE * gib + 1e-6
    assert found.senior.texts(fractions.senior * gib + 0.001 * gib) >= 1


def test_learner_memory_counts_only_while_engines_sleep() -> None:
    config = deepcopy(four_billion())
    config.learner.zero_stage = 2
    sizes = Sizes(FOUR_BILLION, (FOUR_BILLION,))
    rank = memory(config, sizes).rank
    went = rank.gradients + rank.activations + rank.buffers
    assert rank.total - rank.between_updates == pytest.approx(went)
    awake, asleep = (fractions_shared(config, sizes, 141, 1, learner=True, sleep=sleep) for sleep in (False, True))
    assert 2 * 141 * (asleep.senior - awake.senior) == pytest.approx(went, abs=0.5)


@pytest.mark.parametrize(
    ("settings", "sleep"),
    [
        ([], True),
        (["rollout.sleep=false"], False),
        (["rollout.max_staleness=1"], False),
        (["cluster.gpus=2"], False),
        (["cluster.gpus=2", "rollout.replicas=2"], True),
        (["cluster.gpus=2", "rollout.replicas=3"], True),
        (["rollouts_only=true"], False),
    ],
)
def test_engines_sleep_only_on_shared_gpu_without_staleness(settings: list[str], sleep: bool) -> None:
    plan = assumed_plan(configuration(["plan_only=true", "mode=local", "cluster.gpus=1", *settings]))
    assert plan.engines_sleep == sleep
    together = {slot.gpus for slot in plan.slots if slot.role == "learner"} & {
        slot.gpus for slot in plan.slots if slot.role == "senior"
    }
    assert bool(together) or not sleep


def test_tensor_parallelism_divides_engine_memory() -> None:
    one, four = (engine_memory(FOUR_BILLION, "bfloat16", gpus, 4000) for gpus in (1, 4))
    assert four.text == one.text / 4 and four.weights < one.weights


# The command line


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
            "is too small .* use learner.zero_stage=1 learner.offload_optimizer",
        ),
        (
            ["mode=local", "cluster.gpus=1", "cluster.gpu_gib=100", "model=qwen3_4b", "rollout.sleep=false"],
            "is too small .* use rollout.sleep=true, so that engines sleep during updates",
        ),
        (
            ["mode=local", "cluster.gpus=1", "cluster.gpu_gib=100", "model=qwen3_4b", "rollout.max_staleness=1"],
            "is too small .* use rollout.max_staleness=0, so that engines sleep",
        ),
        (
            ["mode=local", "cluster.gpus=1", "cluster.gpu_gib=100", "model=qwen3_4b", *AWAKE],
            "is too small .* use rollout.max_staleness=0 rollout.sleep=true, so that",
        ),
        (
            ["mode=local", "cluster.gpus=1", "cluster.gpu_gib=90", "model=qwen3_4b"],
            "a rank of the learner 74.1 GiB while it learns beside 2.0 GiB of sleeping engines, and 68.9 GiB while they write; "
            "use learner.zero_stage=2$",
        ),
        (
            ["mode=local", "cluster.gpus=2", "cluster.gpu_gib=60", "model=qwen3_4b"],
            "learner.ranks=1: a rank needs .* of 60 GiB",
        ),
        (["mode=cluster", "cluster.gpus=8", "model=qwen3_4b"], "learner.ranks=1: a rank needs .*; use learner.ranks=2$"),
        (
            ["mode=cluster", "cluster.gpus=8", "model=qwen3_4b", "cluster.gpu_gib=10"],
            "rollout.senior_tensor_parallel=1: .* needs .* gets 0.90 of 10 GiB; use rollout.senior_tensor_parallel=2",
        ),
        (["mode=cluster", "cluster.gpus=8", "model=hf", "model.path=/no/model"], "model.path=/no/model: .* give model.shape"),
    ],
)
def test_plan_that_does_not_fit_is_refused_with_remedy(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        assumed_plan(configuration(["plan_only=true", "data=jsonl", "data.path=x", *overrides]))


EIGHT_BILLION = (
    "model=hf",
    "model.path=org/name",
    "model.shape={hidden_size:4096,num_hidden_layers:36,num_attention_heads:32,num_key_value_heads:8,head_dim:128,"
    "intermediate_size:12288,vocab_size:151936,tie_word_embeddings:0}",
)


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
    ],
)
def test_remedy_makes_plan_fit(overrides: list[str], remedy: str) -> None:
    given = ["plan_only=true", *(() if "model=qwen3_4b" in overrides else EIGHT_BILLION), *overrides]
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


def test_unreachable_hub_is_reported_at_once() -> None:
    start = time.monotonic()
    with pytest.raises(ConfigError, match="model.path=org/name: .* name a local directory, or .*HF_HUB_OFFLINE.* model.shape"):
        model_sizes(configuration(["model=hf", "model.path=org/name"]))
    assert time.monotonic() - start < 10


def test_only_plan_only_assumes_gpus() -> None:
    with pytest.raises(ConfigError, match="cluster.gpus=8: only a plan assumes GPUs; add plan_only=true"):
        configuration(["cluster.gpus=8"])
