"""Tests of the memory that engines and ranks are counted with."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import Gemma3TextConfig, LlamaConfig, MistralConfig, PretrainedConfig, Qwen3Config

from launch.cluster.plan import assumed_plan
from launch.entry import configuration
from tandem.config.learner import LearnerConfig, LoraConfig
from tandem.config.schema import ConfigError
from tandem.models.configuration import attention_window
from tandem.plan.fit import DoesNotFit, fractions_shared, longest_rollout, memory
from tandem.plan.memory import (
    BYTES,
    ENGINE_ASLEEP_GIB,
    RANK_OVERHEAD_GIB,
    SUB_GROUP_SIZE,
    USABLE,
    engine_memory,
    rank_memory,
)
from tandem.plan.sizes import Sizes, model_size, model_sizes
from tests.support.plans import FOUR_BILLION, four_billion


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
        ({"zero_stage": 3}, SUB_GROUP_SIZE),
        ({"zero_stage": 3, "ranks": 8}, FOUR_BILLION.parameters / 8),
        ({"zero_stage": 3, "offload_optimizer": True}, 0),
        ({"zero_stage": 1, "dtype": "bfloat16"}, 0),
        ({"zero_stage": 2, "dtype": "bfloat16"}, 0),
        ({"zero_stage": 3, "dtype": "bfloat16"}, SUB_GROUP_SIZE),
    ],
)
def test_gradients_copied_for_step_count_once_activations_are_freed(settings: dict[str, Any], copied: float) -> None:
    few, many = (
        rank_memory(FOUR_BILLION, LearnerConfig(micro_batch_tokens=tokens, logprob_chunk_tokens=1, **settings))
        for tokens in (1, 1 << 20)
    )
    assert few.activations == pytest.approx(4 * copied / 2**30, abs=0.01)
    assert many == replace(few, activations=many.activations) and many.activations > 4 * SUB_GROUP_SIZE / 2**30


@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_ranks_that_share_sequences_hold_a_part_of_the_longest(ranks: int) -> None:
    config = deepcopy(four_billion())
    config.data.max_prompt_tokens, config.rollout.sampling.max_tokens = 1001, 31_001
    config.learner.sequence_parallel = ranks
    assert longest_rollout(config) == -(-32_001 // ranks)
    alone = rank_memory(FOUR_BILLION, config.learner, longest=-(-32_001 // ranks))
    assert memory(config, model_sizes(config)).rank.activations == alone.activations


@pytest.mark.parametrize(("split", "window", "counted"), [(1, 4096, False), (2, 0, False), (2, 40_000, False), (2, 4096, True)])
def test_mask_of_windows_counts_where_ranks_split_sequences(split: int, window: int, counted: bool) -> None:
    config = deepcopy(four_billion())
    config.data.max_prompt_tokens, config.rollout.sampling.max_tokens = 1001, 31_000
    config.learner.sequence_parallel, longest = split, 32_000 // split
    windowed, whole = (
        rank_memory(replace(FOUR_BILLION, window=each), config.learner, longest=longest).activations for each in (window, 0)
    )
    assert windowed - whole == pytest.approx(BYTES[config.learner.dtype] * 32_000**2 / 2**30 if counted else 0.0)


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        (MistralConfig(sliding_window=128), 128),
        (MistralConfig(sliding_window=None), 0),
        (Gemma3TextConfig(sliding_window=64), 64),
        (Qwen3Config(sliding_window=32, use_sliding_window=False), 0),
        (LlamaConfig(), 0),
    ],
    ids=lambda each: getattr(each, "model_type", str(each)),
)
def test_size_has_window_of_attention(shape: PretrainedConfig, window: int) -> None:
    assert attention_window(shape) == window


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
        with pytest.raises(DoesNotFit, match="needs at least .* GiB of GPU memory"):
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
