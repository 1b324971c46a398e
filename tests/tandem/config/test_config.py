"""Test that bad values, impossible combinations and unknown keys are refused."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, cast

import pytest
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf

from tandem.advantage import ESTIMATORS
from tandem.aggregation import AGGREGATIONS
from tandem.config.load import load
from tandem.config.schema import SETTINGS, Config, ConfigError
from tandem.loss import CORRECTIONS, KL_ESTIMATORS, POLICY_LOSSES
from tandem.schedule import SCHEDULES

Compose = Callable[..., DictConfig]
NUMBERS = {key: each for key, each in SETTINGS.items() if each.type in (int, float)}
CHOICES = {key: list(each.choices) for key, each in SETTINGS.items() if each.type in (int, str) and list(each.choices)}
OUTSIDE = [
    *((key, each.at_least - 1) for key, each in NUMBERS.items() if each.at_least is not None),
    *((key, each.at_most + 1) for key, each in NUMBERS.items() if each.at_most is not None),
    *((key, bad) for key, each in NUMBERS.items() if each.above is not None for bad in (each.above, -1, math.nan)),
]


def with_value(defaults: DictConfig, key: str, value: Any) -> DictConfig:
    changed = cast(DictConfig, OmegaConf.create(OmegaConf.to_container(defaults, resolve=True)))
    OmegaConf.update(changed, key, value)
    return changed


def test_every_number_has_bounds_or_choices() -> None:
    assert [key for key, each in NUMBERS.items() if not each.bounds and key not in CHOICES] == []


def test_every_default_is_allowed() -> None:
    config = Config()
    values = {key: attrgetter(key)(config) for key in SETTINGS}
    assert {key: value for key, value in values.items() if value != MISSING and SETTINGS[key].remedy(value)} == {}


@pytest.mark.parametrize(
    ("key", "implemented"),
    [
        ("schedule.name", SCHEDULES),
        ("algo.advantage", ESTIMATORS),
        ("algo.policy_loss", POLICY_LOSSES),
        ("algo.kl_estimator", KL_ESTIMATORS),
        ("algo.mismatch", ["none", *CORRECTIONS]),
        ("algo.aggregation", AGGREGATIONS),
    ],
)
def test_choices_are_what_is_implemented(key: str, implemented: Iterable[str]) -> None:
    assert list(SETTINGS[key].choices) == list(implemented)


@pytest.mark.parametrize("key", CHOICES)
def test_unknown_choice_is_refused_with_known_ones(defaults: DictConfig, key: str) -> None:
    bad = 7 if SETTINGS[key].type is int else "sideways"
    with pytest.raises(ConfigError) as refused:
        load(with_value(defaults, key, bad))
    assert f"{key}={bad}: choose {' or '.join(map(str, CHOICES[key]))}" in str(refused.value)


@pytest.mark.parametrize(("key", "bad"), OUTSIDE)
def test_number_outside_its_bounds_is_refused(defaults: DictConfig, key: str, bad: float) -> None:
    value = SETTINGS[key].type(bad)
    with pytest.raises(ConfigError) as refused:
        load(with_value(defaults, key, value))
    assert str(refused.value).splitlines()[0] == f"{key}={value}: give a number {SETTINGS[key].bounds}"


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("schedule.prob_senior=1.5",), "schedule.prob_senior=1.5: give a number from 0 to 1"),
        (("schedule.prob_senior=nan",), "schedule.prob_senior=nan: give a number from 0 to 1"),
        (("rollout.group_size=1",), "rollout.group_size=1: give a number of at least 2"),
        (("rollout.sampling.temperature=0",), "rollout.sampling.temperature=0.0: give a number from"),
        (("rollout.max_staleness=1", "rollout.straggler_deadline_s=9"), "rollout.straggler_deadline_s=9: .* set it to 0"),
        (("reward.overlong_buffer_tokens=97",), "reward.overlong_buffer_tokens=97: .*max_tokens=96; give fewer"),
        (("algo=grpo", "schedule=word"), "schedule.name=word: algo=grpo is a control, .* choose algo=tandem"),
        (("algo=grpo_g16", "rollout.group_size=8"), "rollout.group_size=8: algo=grpo_g16 is the control with groups of 16"),
        (("algo=kl_reg", "algo.kl_coef=0"), "algo.kl_coef=0: algo=kl_reg is a control with a .* or algo=grpo"),
        (("algo=kl_junior", "algo.kl_coef=0"), "algo.kl_coef=0: algo=kl_junior is a control with a .* or algo=grpo"),
        (
            ("algo=kl_junior", "algo.kl_reference=base"),
            "algo.kl_reference=base: algo=kl_junior draws the senior toward its junior",
        ),
        (("algo=kl_reg", "algo.kl_reference=junior"), "algo.kl_reference=junior: algo=kl_reg draws the senior toward its base"),
        (
            ("algo=kl_junior", "junior=[self,zoo:jargon]"),
            r"algo.kl_reference=junior: .* junior=\['self', 'zoo:jargon'\] names several; name one, or choose base",
        ),
        (("algo=kl_junior", "junior_translation=true"), "algo.kl_reference=junior: .* choose algo.kl_reference=base"),
        (("algo=grpo", "algo.kl_reference=junior"), "algo.kl_reference=junior: .* algo.kl_coef above 0"),
        (("algo.mismatch=tis",), "algo.mismatch=tis: .* choose algo.old_logprobs=learner"),
        (("algo.mini_batches=3",), "algo.mini_batches=3: the step's 128 rollouts .* are not divisible by it"),
        (
            ("algo.mini_batch_order=prompts", "algo.mini_batches=32"),
            "algo.mini_batches=32: with algo.mini_batch_order=prompts, rollout.prompts_per_step=16 must be divisible by it",
        ),
        (("algo.dual_clip=0.5",), "algo.dual_clip=0.5: .* give 0 or more than 1"),
        (("learner.ranks=4", "learner.sequence_parallel=3"), "learner.ranks=4 does not divide by it; change one of them"),
        (("algo.mini_batches=0", "learner.ranks=200"), "learner.ranks=200: a mini-batch holds only 128 rollouts"),
        (
            ("rollout.prompts_per_step=1", "rollout.group_size=2", "learner.ranks=2"),
            "learner.ranks=2: a mini-batch holds only 1 rollouts; use fewer ranks or mini-batches, or more rollouts",
        ),
        (("learner.dtype=bfloat16", "learner.zero_stage=0"), "learner.zero_stage=0: bfloat16 needs"),
        (("learner.offload_optimizer=true", "learner.zero_stage=0"), "learner.offload_optimizer=True: .*zero_stage=1, 2 or 3"),
        (("learner.offload_parameters=true", "learner.zero_stage=2"), "learner.offload_parameters=True: .*zero_stage=3"),
        (("data.verifier=nowhere",), "data.verifier=nowhere: name a function as package.module:function"),
        (("data.verifier=nowhere:judge",), "data.verifier=nowhere:judge: ModuleNotFoundError: No module named 'nowhere'"),
        (("learner.transport=tcp",), "learner.transport=tcp: choose auto or shm or nccl or ipc"),
        (("learner.transport=ipc", "mode.device=cpu"), "learner.transport=ipc: it needs GPUs, .* choose auto or shm"),
        (("judge.answer_pattern='[('",), "judge.answer_pattern"),
        (("junior=[]",), r"junior=\[\]: name at least one"),
        (("junior_weights=[1,2]",), r"junior_weights=\[1.0, 2.0\]: give one for each of the 1 juniors, or none"),
        (("junior=[self,self]", "junior_weights=[1,0]"), r"junior_weights=\[1.0, 0.0\]: give numbers above 0"),
        (("junior_weights=[nan]",), r"junior_weights=\[nan\]: give numbers above 0"),
        (("junior_dtypes=[float32,bfloat16]",), "junior_dtypes=.*: give one for each of the 1 juniors, or none"),
        (("junior_translation=true", "schedule=token"), "schedule.name=token: it passes the pen inside words"),
        (("junior_translation=true", "schedule.name=foo"), "^schedule.name=foo: choose word or [^\n]*$"),
        (("junior_translation=true", "algo.junior_token_loss_weight=0.5"), "algo.junior_token_loss_weight=0.5: .* set it to 0"),
        (("rollout.sampling.top_p=0.8",), "rollout.sampling.top_p=0.8: .* importance ratios; set it to 1"),
        (("rollout.sampling.top_k=20",), "rollout.sampling.top_k=20: .* set it to 0; eval.sampling.top_k is free"),
        (("eval.sampling.top_p=0",), "eval.sampling.top_p=0.0: give a number from 0.001 to 1"),
        (("eval.measures=[solo,speed]",), r"eval.measures=\['solo', 'speed'\]: choose solo or handoff"),
        (("eval.samples=4", "eval.pass_at=[1,8]"), r"eval.pass_at=\[1, 8\]: give numbers from 1 to eval.samples=4"),
        (("eval.scored_samples=2",), "eval.scored_samples=2: there are only eval.samples=1"),
        (("eval.prefixes=[0.5,1]",), r"eval.prefixes=\[0.5, 1.0\]: give numbers from 0 to below 1"),
        (("eval.handoff=[]",), "eval.handoff=.*: name at least one schedule"),
        (("eval.handoff=[{name: solo}]",), r"eval.handoff\[0\].name=solo: choose word or [^\n]*$"),
        (("eval.handoff=[{name: word},{name: step,anneal: linear}]",), r"eval.handoff\[1\].anneal=linear: .* choose constant"),
        (("eval.handoff=[{name: chunk,chunk_tokens: 0}]",), r"eval.handoff\[0\].chunk_tokens=0: give a number of at least 1"),
        (("eval.handoff=[{name: foo}]",), r"^eval.handoff\[0\].name=foo: choose word or [^\n]*$"),
        (("eval.prefixes=[]",), r"eval.prefixes=\[\]: give at least one fraction"),
        (("eval.pass_at=[]",), r"eval.pass_at=\[\]: give numbers from 1 to eval.samples=1"),
        (("eval.pass_at=[0]",), r"eval.pass_at=\[0\]: give numbers of at least 1"),
        (("eval.handoff=[{name: word,prob_senior: 2}]",), r"eval.handoff\[0\].prob_senior=2.0: give a number from 0 to 1"),
        (
            ("junior_translation=true", "eval.measures=[handoff]"),
            r"eval.handoff\[0\].name=step: .* started for schedule.name=word; choose word or alternate$",
        ),
        (
            ("schedule=alternate", "schedule.anneal=linear", "schedule.prob_senior_end=0.9"),
            "schedule.anneal=linear: .* alternates",
        ),
        (("schedule=chunk", "schedule.alternates=true", "schedule.prob_senior=0.9"), "schedule.prob_senior=0.9: .* alternates"),
        (
            ("schedule.anneal=linear",),
            "schedule.anneal=linear: schedule.prob_senior=0.5 and .* give another, or",
        ),
        (("schedule=solo", "algo.lambda_junior=0.1"), "algo.lambda_junior=0.1: .* a schedule in which a junior writes"),
        (("algo=grpo", "algo.junior_token_loss_weight=1"), "algo.junior_token_loss_weight=1.0: .* in which a junior writes"),
        (("reward.correct=0",), "reward.correct=0: every reward is 0 .*reward.format=0.* give one of them a weight above 0"),
        (("reward.correct=0", "reward.overlong_penalty=0"), "reward.overlong_penalty=0"),
        (("learner.betas=[1.5,2]",), r"learner.betas=\[1.5, 2.0\]: give numbers from 0 to below 1"),
        (("learner.betas=[0.9]",), r"learner.betas=\[0.9\]: give two numbers"),
        (("learner.betas=[0.9,nan]",), r"learner.betas=\[0.9, nan\]: give numbers from 0 to below 1"),
        (("judge.timeout_s=700",), "judge.timeout_s=700: all answers of a step have judge.step_timeout_s=600; .* no more"),
        (("learner.dtype=bfloat16",), "learner.dtype=bfloat16: .* choose model.dtype=bfloat16, or learner.dtype=float32"),
        (("learner.warmup_steps=61",), "learner.warmup_steps=61: the run has steps=60, .* give fewer"),
        (
            ("algo.old_logprobs=learner", "rollout.max_staleness=1"),
            "algo.old_logprobs=learner: with rollout.max_staleness=1 .* choose algo.old_logprobs=rollout, or .*mismatch=tis",
        ),
        (("learner.lr=inf",), "learner.lr=inf: give a finite number above 0"),
        (("rollout.timeout_s=1e9",), "rollout.timeout_s=1000000000.0: give a number above 0, at most 2,000,000$"),
        (("model.recipe=plane",), "model.recipe=plane: the recipes are plain, jargon"),
        (("junior=[zoo:plane]",), r"junior\[0\]=zoo:plane: the recipes are plain, jargon"),
        (("speculative=33",), "speculative=33: give a number from 0 to 32"),
        (
            ("speculative=4", "junior=[self,zoo:jargon]"),
            r"junior=\['self', 'zoo:jargon'\]: one junior drafts .* \(speculative=4\); name one",
        ),
        (
            ("speculative=4", "junior_translation=true"),
            r"junior_translation=true: a draft is in the senior's own tokens \(speculative=4\); leave out one",
        ),
        (
            ("speculative=4", "junior_dtypes=[bfloat16]"),
            r"junior_dtypes=\['bfloat16'\]: a draft is computed in model.dtype=float32 \(speculative=4\); leave it out",
        ),
        (
            ("junior=[openai:http://host/v1,small]",),
            r"junior\[0\]=openai:http://host/v1: it names no model; write 'junior=\[\"openai:URL,MODEL\"\]'",
        ),
        (('junior=["openai:host:8000/v1,small"]',), r"junior\[0\]=openai:host:8000/v1,small: it names no http:// or https://"),
        (('junior=[self,"openai:http://host/v1,small"]',), r"junior=\['self', 'openai:.*'\]: a black box is the only junior"),
        (
            ('junior=["openai:http://host/v1,small"]', "eval.measures=[solo,drift]"),
            r"eval.measures=\['solo', 'drift'\]: drift need the weights of junior\[0\]=openai:http://host/v1,small; leave",
        ),
        (
            ('junior=["openai:http://host/v1,small"]', "eval.measures=[handoff]", "eval.handoff=[{name: chunk}]"),
            r"eval.handoff\[0\].name=chunk: .* writes whole words or steps; choose word, step or alternate",
        ),
        (("junior=['']",), r"junior\[0\] is empty: name a Hugging Face directory"),
        (("junior=[self,self]", "junior_weights=[1e308,1e308]"), "junior_weights=.*: .* not finite; give smaller numbers"),
        (("model.shape={hidden_size:64}",), "model.shape=.*: it lacks num_hidden_layers, num_attention_heads, intermediate"),
        (("model=qwen3_4b", "model.shape.layers=3"), "model.shape.layers=3: there is no such key; choose among hidden_size"),
        (("model=qwen3_4b", "model.shape.head_dim=0"), "model.shape.head_dim=0: give a number of at least 1"),
        (("model=qwen3_4b", "model.shape.tie_word_embeddings=2"), "model.shape.tie_word_embeddings=2: give 1 if"),
        (("learner.lora.alpha=8",), "learner.lora.alpha=8.0: it has no effect without learner.lora.rank above 0; set that, or"),
        (("learner.lora.rank=-1",), "learner.lora.rank=-1: give a number from 0 to 512"),
        (("data.path=mine.jsonl",), "data.path=mine.jsonl: it has no effect without data=jsonl, parquet or hub; set that"),
        (("model.path=org/name",), "model.path=org/name: it has no effect without model=hf; set that, or leave it out"),
        (("plan_only=true", "mode.device=cpu", "cluster.gpus=1"), "cluster.gpus=1: mode.device=cpu uses no GPU; leave one"),
        (("eval.measures=[]",), r"eval.measures=\[\]: name each measure once, and at least one of solo, handoff"),
        (("eval.measures=[solo,solo]",), "eval.measures=.*: name each measure once"),
        (("eval.handoff=[{name: step,chunk_tokens: 4}]",), r"eval.handoff\[0\].chunk_tokens=4: .* name=chunk; set that"),
        (("rollouts_only=true", "learner_only=fake"), "learner_only=fake: rollouts_only=true starts no learner; choose one"),
        (("rollouts_only=true", "resume=auto"), "resume=auto: rollouts_only=True writes no checkpoint to resume from"),
        (("learner_only=fake", "resume=auto"), "resume=auto: learner_only=fake writes no checkpoint to resume from"),
        (("rollouts_only=true", "rollout.max_staleness=1"), "rollout.max_staleness=1: with rollouts_only=true .* set it to 0"),
        (("learner_only=fake", "log.rollouts=true"), "log.rollouts=True: learner_only=fake writes no rollouts; leave it out"),
        (("profile=true", "steps=1"), "profile_step=2: the run has steps=1; trace one of them"),
        (("junior_dtypes=[float16]",), r"junior_dtypes=\['float16'\]: choose float32 or bfloat16"),
    ],
)
def test_impossible_combination_is_refused(composed: Compose, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(composed(*overrides))


def test_verifier_of_endless_source_does_not_judge_benchmarks(composed: Compose) -> None:
    given = ("data=sentences", "eval.sets=[math500]")
    refusal = r"^data.verifier=tandem.verify.sentences:score: .* eval.sets=\['math500'\]; set data.verifier= \(empty\)"
    with pytest.raises(ConfigError, match=refusal):
        load(composed(*given))
    assert not load(composed(*given, "data.verifier=")).data.verifier


@pytest.mark.parametrize("schedule", ["word", "alternate", "step", "solo"])
def test_schedules_of_words_and_steps_allow_translation(composed: Compose, schedule: str) -> None:
    assert load(composed("junior_translation=true", f"schedule={schedule}")).junior_translation


@pytest.mark.parametrize("training", ["word", "alternate", "step", "solo"])
@pytest.mark.parametrize("measured", ["word", "alternate", "step", "token", "chunk"])
def test_refusal_of_translated_handoff_names_schedules_that_are_taken(composed: Compose, training: str, measured: str) -> None:
    def load_handoff(schedule: str) -> Config:
        given = ("junior_translation=true", f"schedule={training}", "eval.measures=[solo,handoff]")
        return load(composed(*given, f"eval.handoff=[{{name: {schedule}}}]"))

    if (measured == "step") == (training == "step") and measured not in ("token", "chunk"):
        load_handoff(measured)
        return
    with pytest.raises(ConfigError, match=rf"^eval.handoff\[0\].name={measured}: .* choose ") as refused:
        load_handoff(measured)
    for proposed in str(refused.value).partition("choose ")[2].split(" or "):
        load_handoff(proposed)


def test_weights_and_biases_is_refused_if_not_installed(composed: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="^log.wandb=mine: the package wandb is not installed; `pip install wandb`, or leave"):
        load(composed("log.wandb=mine"))


def test_several_problems_are_reported_together(composed: Compose) -> None:
    with pytest.raises(ConfigError) as refused:
        load(composed("schedule.prob_senior=1.5", "rollout.group_size=1", "learner.lr=-1", "mode.device=tpu"))
    lines = str(refused.value).splitlines()
    named = {"schedule.prob_senior=1.5", "rollout.group_size=1", "learner.lr=-1.0", "mode.device=tpu"}
    assert {line.split(":")[0] for line in lines} == named and len(lines) == 4


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("schedule.prob_seinor=0.5", "prob_seinor"),
        ("scheduel=word", "scheduel"),
        ("model=huge", "huge"),
        ("rollout.group_size=many", "group_size"),
        ("learner.gradient_checkpointing=perhaps", "gradient_checkpointing"),
    ],
)
def test_unknown_key_or_ill_typed_value_is_refused(composed: Compose, override: str, named: str) -> None:
    with pytest.raises(HydraException) as refused:
        composed(override)
    assert named in f"{refused.value} {refused.value.__cause__}"


@pytest.mark.parametrize(
    ("key", "bad"),
    [("schedule.speed", 3), ("rollout.group_size", "many"), ("learner.lr", None), ("model.source", "???")],
)
def test_load_checks_file_not_composed_by_hydra(defaults: DictConfig, key: str, bad: object) -> None:
    """For example, an edited config.yaml of a run folder."""
    changed = with_value(defaults, key, bad)
    with pytest.raises(ConfigError, match=f"^{key}: "):
        load(changed)
