"""Tests of the further arguments of vLLM's engines that a run gives."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields, replace
from typing import Any

import pytest
from vllm.config import CUDAGraphMode
from vllm.engine.arg_utils import AsyncEngineArgs

from actors.engine import Engine
from actors.engine_args import KEYS, RESERVED, argument_names, check_engine_args
from actors.engine_layout import engine_specs
from actors.vllm_arguments import vllm_arguments
from tandem.authors import Authors
from tandem.config.rollout import RolloutConfig
from tandem.config.schema import Config, ConfigError

pytestmark = pytest.mark.seconds  # it imports vLLM

REPLACEABLE = {"compilation_config", "max_num_batched_tokens"}
"""Arguments that the engine sets and a run may set too."""


def set_by_engine() -> set[str]:
    (function,) = ast.parse(inspect.getsource(vllm_arguments)).body
    (call,) = (
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "AsyncEngineArgs"
    )
    return {keyword.arg for keyword in call.keywords if keyword.arg}


def test_every_argument_that_engine_sets_is_reserved_with_reason() -> None:
    names = set_by_engine()
    assert "scheduler_cls" in names and names - REPLACEABLE <= set(RESERVED)
    assert set(RESERVED) <= set(argument_names()) and not REPLACEABLE & set(RESERVED)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", RESERVED)
def test_reserved_argument_is_refused_with_reason(key: str, name: str) -> None:
    given: dict[str, Any] = {key: {name: 1}}
    with pytest.raises(ConfigError, match=rf"^rollout\.{key}\.{name}=1: .*; (use|leave)"):
        check_engine_args(RolloutConfig(**given))


def test_names_are_those_of_vllm() -> None:
    assert set(argument_names()) == {field.name for field in fields(AsyncEngineArgs) if not field.name.startswith("_")}
    check_engine_args(RolloutConfig(engine_args=dict.fromkeys(set(argument_names()) - set(RESERVED), 1)))
    with pytest.raises(ConfigError, match=r"kv_cache_type=fp8: vLLM's engine has no such argument; choose .*kv_cache_dtype"):
        check_engine_args(RolloutConfig(engine_args={"kv_cache_type": "fp8"}))


class Started(Exception):
    """Raised in place of a start."""


def arguments_of(monkeypatch: pytest.MonkeyPatch, spec: Any) -> Any:
    seen: list[Any] = []

    def start(arguments: Any) -> None:
        seen.append(arguments)
        raise Started

    monkeypatch.setattr("actors.engine.AsyncLLM.from_engine_args", start)
    with pytest.raises(Started):
        Engine(spec)
    return seen[0]


def test_arguments_reach_engines(monkeypatch: pytest.MonkeyPatch, config: Config, authors: Authors) -> None:
    given = {"block_size": 32, "compilation_config": {"cudagraph_mode": "FULL"}}
    rollout = replace(config.rollout, engine_args=given, junior_engine_args={"block_size": 64})
    settings = replace(config, rollout=rollout, model=replace(config.model, dtype="bfloat16"))
    senior, junior = (arguments_of(monkeypatch, spec) for spec in engine_specs(settings, authors, "cpu")[0])
    assert (senior.block_size, junior.block_size) == (32, 64)
    assert senior.compilation_config.cudagraph_mode == junior.compilation_config.cudagraph_mode == CUDAGraphMode.FULL
    assert senior.compilation_config.custom_ops == ["-rotary_embedding"], "the engine's own stay"


def test_value_that_vllm_refuses_is_users_mistake(config: Config, authors: Authors) -> None:
    given = {"kv_cache_dtype": "fp7"}
    spec = engine_specs(replace(config, rollout=replace(config.rollout, engine_args=given)), authors, "cpu")[0][0]
    with pytest.raises(ConfigError, match=r"(?s)^rollout\.engine_args=.*refuses them.*kv_cache_dtype|fp7"):
        Engine(spec)


@pytest.mark.parametrize(
    ("given", "device", "eager"),
    [(None, "cpu", True), (None, "cuda", False), (True, "cuda", True), (False, "cpu", False)],
)
def test_engines_on_gpus_capture_graphs_by_default(
    config: Config, authors: Authors, given: bool | None, device: str, eager: bool
) -> None:
    settings = replace(config, rollout=replace(config.rollout, enforce_eager=given))
    assert [spec.enforce_eager for spec in engine_specs(settings, authors, device)[0]] == [eager, eager]
