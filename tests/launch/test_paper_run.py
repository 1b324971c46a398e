"""Tests of the published run and its controls: they compose and fit, and each control differs in one setting."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from launch.cluster.plan import assumed_plan
from launch.entry import configuration
from tandem.config.schema import Config

pytestmark = pytest.mark.seconds

RUN = "+experiment=paper_qwen3_4b"
SOLO = {"schedule.name": ("word", "solo")}
CONTROLS: dict[str, dict[str, Any]] = {
    "grpo": SOLO | {"algo.arm": ("tandem", "grpo")},
    "kl_reg": SOLO
    | {"algo.arm": ("tandem", "kl_reg"), "algo.kl_coef": (0.0, 0.001), "algo.kl_estimator": ("k3", "k3_clamped")},
    "grpo_g16": SOLO | {"algo.arm": ("tandem", "grpo_g16"), "rollout.group_size": (8, 16)},
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composing or planning a run must not use the network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return every setting by its dotted key."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def published(*overrides: str) -> Config:
    return configuration([RUN, *overrides])


def test_paper_run_has_published_hyperparameters() -> None:
    assert (
        flat(asdict(published())).items()
        >= {
            "steps": 200,
            "model.path": "Qwen/Qwen3-4B-Instruct-2507",
            "junior": ["self"],
            "data.path": "agentica-org/DeepScaleR-Preview-Dataset",
            "data.held_out_problems": 1000,
            "data.max_prompt_tokens": 1024,
            "schedule.name": "word",
            "schedule.prob_senior": 0.5,
            "schedule.max_gap_tokens": 32,
            "rollout.prompts_per_step": 16,
            "rollout.group_size": 8,
            "rollout.sampling.temperature": 0.6,
            "rollout.sampling.max_tokens": 3000,
            "algo.mini_batches": 16 // 8,
            "algo.clip_low": 0.2,
            "algo.mini_batch_order": "prompts",
            "algo.clip_high": 0.2,
            "algo.dual_clip": 3,
            "algo.aggregation": "response_token",
            "algo.old_logprobs": "learner",
            "algo.kl_coef": 0,
            "algo.lambda_junior": 0,
            "algo.junior_token_loss_weight": 0,
            "learner.lr": 1e-6,
            "learner.weight_decay": 0.01,
            "learner.warmup_steps": 0,
            "judge.answer_pattern": "boxed",
            "eval.measures": ["solo"],
            "eval.samples": 4,
            "eval.sampling.temperature": 0.6,
            "eval.sampling.top_p": 0.95,
            "eval.sampling.max_tokens": 3000,
        }.items()
    )


@pytest.mark.parametrize("arm", CONTROLS)
def test_control_differs_only_in_controlled_setting(arm: str) -> None:
    run, control = flat(asdict(published())), flat(asdict(published(f"algo={arm}")))
    assert {key: (run[key], control[key]) for key in run if run[key] != control[key]} == CONTROLS[arm]


@pytest.mark.parametrize("gpus", [8, 64])
@pytest.mark.parametrize("mode", ["auto", "local", "cluster"])
@pytest.mark.parametrize("arm", ["tandem", *CONTROLS])
def test_paper_run_fits_on_one_and_eight_nodes(arm: str, mode: str, gpus: int) -> None:
    plan = assumed_plan(published(f"algo={arm}", f"mode={mode}", "plan_only=true", f"cluster.gpus={gpus}"))
    assert plan.on_gpus and len({slot.owner for slot in plan.slots if slot.role == "learner"}) == 2


def test_paper_run_uses_every_gpu_of_node() -> None:
    plan = assumed_plan(published("mode=cluster", "plan_only=true", "cluster.gpus=8"))
    assert plan.demand.total == 8
