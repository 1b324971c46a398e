"""Tests of what a plan decides about adapters and shared engines."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from launch.cluster.plan import assumed_plan, print_plan
from launch.entry import configuration
from tandem.config.checks import config_errors
from tandem.config.schema import Config, ConfigError
from tandem.plan.engines import junior_engines, with_engines
from tandem.plan.run_plan import planned
from tests.support.plans import EIGHT_BILLION

LORA = ["learner.lora.rank=8"]


@pytest.mark.parametrize(
    ("overrides", "gpus", "machines", "learns", "decided"),
    [
        ([], True, 1, True, ("auto", "auto", 1)),
        (LORA, False, 1, True, ("merged", "pair", 1)),
        (LORA, True, 1, True, ("adapter", "shared", 0)),
        (LORA, True, 2, True, ("merged", "pair", 1)),
        (LORA, True, 1, False, ("merged", "pair", 1)),
        ([*LORA, "learner.transport=nccl"], True, 1, True, ("merged", "pair", 1)),
        ([*LORA, "learner.lora.sync=merged"], True, 1, True, ("merged", "pair", 1)),
        ([*LORA, "rollout.engines=pair"], True, 1, True, ("adapter", "pair", 1)),
        ([*LORA, "junior=[zoo:plain]"], True, 1, True, ("adapter", "pair", 1)),
        ([*LORA, "junior=[self,self]"], True, 1, True, ("adapter", "pair", 2)),
        ([*LORA, "junior_dtypes=[bfloat16]"], True, 1, True, ("adapter", "pair", 1)),
        ([*LORA, "rollout.junior_engine_args={block_size: 32}"], True, 1, True, ("adapter", "pair", 1)),
        ([*LORA, "algo=grpo", "eval=solo"], True, 1, True, ("adapter", "pair", 0)),
        ([*LORA, "learner.lora.sync=adapter"], False, 1, True, ("adapter", "pair", 1)),
        ([*LORA, "rollout.engines=shared"], False, 1, True, ("adapter", "shared", 0)),
        ([*LORA, "rollout.engines=shared"], False, 1, False, ("merged", "pair", 1)),
    ],
)
def test_the_engines_of_a_run(
    overrides: list[str], gpus: bool, machines: int, learns: bool, decided: tuple[str, str, int]
) -> None:
    config = with_engines(configuration(overrides), gpus=gpus, machines=machines, learns=learns)
    assert (config.learner.lora.sync, config.rollout.engines, junior_engines(config)) == decided
    assert with_engines(config, gpus=gpus, machines=machines, learns=learns) == config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["rollout.engines=shared"],
            "rollout.engines=shared: the senior must be .*; set learner.lora.rank above 0, or choose pair",
        ),
        ([*LORA, "rollout.engines=shared", "learner.lora.sync=merged"], "set learner.lora.sync=adapter, or choose pair"),
        ([*LORA, "rollout.engines=shared", "junior=[zoo:plain,self]"], r"junior=\[zoo:plain,self\]: .*; choose \[self\], or"),
        ([*LORA, "rollout.engines=shared", "junior_dtypes=[bfloat16]"], r"junior_dtypes=\['bfloat16'\]: .* no junior's engine"),
        ([*LORA, "rollout.engines=shared", "rollout.junior_tensor_parallel=2"], "rollout.junior_tensor_parallel=2: .* leave"),
        ([*LORA, "learner.lora.sync=adapter", "learner.transport=nccl"], "learner.transport=nccl: .* choose auto or shm, or"),
        (["learner.lora.sync=adapter"], "learner.lora.sync=adapter: it has no effect without learner.lora.rank above 0"),
    ],
)
def test_what_excludes_a_shared_engine_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configuration(overrides)


@pytest.fixture
def paper() -> Callable[..., Config]:
    """Return the published run with an adapter on one GPU of a given size."""

    def config(gpu_gib: int, *overrides: str) -> Config:
        small = ("rollout.replicas=1", "learner.ranks=1", "learner.lora.rank=16")
        gpu = ("plan_only=true", "mode=local", "cluster.gpus=1", f"cluster.gpu_gib={gpu_gib}")
        return configuration(["+experiment=paper_qwen3_4b", *small, *gpu, *overrides])

    return config


@pytest.mark.parametrize(("gpu_gib", "model"), [(24, []), (48, [EIGHT_BILLION])])
def test_published_lengths_on_one_small_gpu(paper: Callable[..., Config], gpu_gib: int, model: list[str]) -> None:
    config = paper(gpu_gib, *model)
    plan = assumed_plan(config)
    assert plan.memory is not None and plan.fractions is not None and plan.engines_sleep
    assert [slot.role for slot in plan.slots] == ["senior", "learner"]
    (engine,) = plan.memory.engines
    decided = planned(config, plan)
    assert (decided.learner.lora.sync, decided.rollout.engines) == ("adapter", "shared")
    assert not list(config_errors(decided)), "the saved configuration can be used again"
    alone = assumed_plan(paper(141, *model, "rollout.engines=pair")).memory
    assert alone is not None and engine.text == 2 * alone.senior.text, "both authors keep the text"
    assert 0 < engine.weights - alone.juniors[0].weights < 0.1, "one copy of the weights, and the adapter"
    print_plan(plan, Console(file=(terminal := StringIO()), width=200))
    assert "replica 0: both authors" in terminal.getvalue()
    with pytest.raises(ConfigError, match="the 2 engines of a replica use at least"):
        assumed_plan(paper(gpu_gib, *model, "rollout.engines=pair"))
