"""Test that every invalid value and every setting without effect is refused, and that valid combinations are accepted."""

from __future__ import annotations

import math
from copy import deepcopy
from functools import cache, reduce
from operator import attrgetter
from typing import get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.entry import configuration
from tandem.config.checks import config_errors
from tandem.config.checks.unused import CONDITIONAL, SCHEDULE_CONDITIONAL, Conditional
from tandem.config.schema import SETTINGS, Config

NUMBERS = {key: each.type for key, each in SETTINGS.items() if each.type in (int, float)}
LISTS = [key for key, each in SETTINGS.items() if set(get_args(each.type)) & {int, float} and get_origin(each.type) is not dict]
"""The keys of lists of numbers."""


def refusals(key: str, value: object) -> list[str]:
    """Return the problems of the default configuration with `value` for `key`."""
    config = deepcopy(shipped())
    *groups, leaf = key.split(".")
    setattr(reduce(getattr, groups, config), leaf, value)
    return list(config_errors(config))


@cache
def shipped() -> Config:
    return configuration([])


@pytest.mark.parametrize("key", NUMBERS)
def test_number_is_accepted_or_refused_by_its_key(key: str) -> None:
    for value in (0, -1, 10**30) if NUMBERS[key] is int else (0.0, -1.0, 1e300, math.nan, math.inf, -math.inf):
        found = refusals(key, value)
        assert all(key in message for message in found), value
        assert found or math.isfinite(value), "NaN and infinity are never accepted"


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0], ids=str)
@pytest.mark.parametrize("key", LISTS)
def test_bad_number_in_list_is_refused_by_its_key(key: str, value: float) -> None:
    found = refusals(key, [value] * 2)
    assert found and all(key in message for message in found)


@given(data=st.data(), key=st.sampled_from(sorted(NUMBERS)))
def test_any_number_is_accepted_or_refused_by_its_key(data: st.DataObject, key: str) -> None:
    whole = st.integers(-(2**70), 2**70) | st.integers(-3, 300)
    value = data.draw(whole if NUMBERS[key] is int else st.floats() | st.floats(0, 2))
    assert all(key in message for message in refusals(key, value))


CASES = [("", each) for each in CONDITIONAL] + [("schedule.", each) for each in SCHEDULE_CONDITIONAL]


@pytest.mark.parametrize(("prefix", "conditional"), CASES, ids=lambda case: getattr(case, "key", case))
def test_setting_without_effect_is_refused_unless_default(prefix: str, conditional: Conditional) -> None:
    key = prefix + conditional.key
    default = attrgetter(key)(Config())
    other: dict[type, object] = {bool: not default, int: 7, float: 0.3, str: "other", list: [0.5], dict: {"x": 1}}
    config = deepcopy(shipped())
    schedule = {"chunk_tokens": "word", "alternates": "word", "max_gap_tokens": "token"}
    config.schedule.name = "solo" if key.startswith("algo.") else schedule.get(conditional.key, "alternate")
    if key == "model.recipe":
        config.model.source = "smollm2"
    if key == "model.recipe_seed":
        config.model.source = "hf"
    if key.startswith("checkpoint."):
        config.checkpoint.save_every = 0
    if key.endswith("memory_fraction"):
        config.mode.device = "cpu"
    if key == "algo.dual_clip":
        config.algo.policy_loss = "cispo"
    if key == "log.export_fallback":
        config.log.export = False
    if key == "reward.overlong_buffer_tokens":
        config.reward.overlong_penalty = 0.0
    *groups, leaf = key.split(".")
    for value, refused in ((default, False), (other[type(default)], True)):
        setattr(reduce(getattr, groups, config), leaf, value)
        assert any(line.startswith(f"{key}={value}: it has no effect without") for line in config_errors(config)) is refused


@pytest.mark.parametrize(
    "overrides",
    [
        ("algo=grpo", "schedule.prob_senior=0.7", "schedule.max_gap_tokens=8"),  # the control of a run with these
        ("steps=1",),  # shorter than the warm-up by default
        ("learner_only=fake", "learner.dtype=bfloat16"),  # there is no engine to differ from
        ("rollouts_only=true", "learner.dtype=bfloat16"),
        ("model.dtype=bfloat16",),  # engines may be less exact; old_logprobs and mismatch correct for it
        ("algo.old_logprobs=learner", "algo.mismatch=tis", "rollout.max_staleness=2"),
        ("reward.correct=0", "reward.format=1"),
        ("model=hf", "model.path=x", "junior=[zoo:plain]", "model.recipe_seed=3"),
        ("model.shape={hidden_size:64,num_hidden_layers:2,num_attention_heads:4,intermediate_size:128}",),
        ("model=qwen3_4b", "model.shape={num_hidden_layers:28}", "model.shape.tie_word_embeddings=0"),
        ("data=reasoning_gym", "data.task_options={chain_sum:{max_terms:3}}"),
    ],
)
def test_possible_combination_is_accepted(overrides: tuple[str, ...]) -> None:
    configuration(overrides)
