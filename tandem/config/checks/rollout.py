"""Check how rollouts are written, judged and rewarded."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tandem.config.checks.unused import DEFAULTS
from tandem.config.rollout import MAX_TEMPERATURE, MIN_TEMPERATURE
from tandem.config.schema import SELF
from tandem.verify.extract import compile_pattern
from tandem.verify.pool import check_verifier

if TYPE_CHECKING:
    from tandem.config.reward import RewardConfig
    from tandem.config.rollout import SamplingConfig
    from tandem.config.schema import Config


JUNIOR_ENGINE_SETTINGS = (
    "junior_dtypes",
    "rollout.junior_engine_args",
    "rollout.junior_tensor_parallel",
    "rollout.junior_gpu_memory_fraction",
)
"""The settings of juniors' engines."""


def given_junior_engine_settings(config: Config) -> dict[str, Any]:
    """Return the settings of juniors' engines that are given."""
    return {key: value for key in JUNIOR_ENGINE_SETTINGS if (value := attrgetter(key)(config)) != attrgetter(key)(DEFAULTS)}


def rollout_errors(config: Config) -> Iterator[str]:
    """Yield the errors in the settings of schedule, rollouts, verdicts and rewards."""
    rollout = config.rollout
    if config.schedule.name != "solo":
        yield from _schedule_errors(config)
    yield from _sampling_errors(rollout.sampling)
    if rollout.max_staleness and rollout.straggler_deadline_s:
        yield (
            f"rollout.straggler_deadline_s={rollout.straggler_deadline_s:g}: with rollout.max_staleness="
            f"{rollout.max_staleness} no step waits for stragglers, and groups that are too old are dropped; set it to 0"
        )
    if rollout.engines == "shared":
        yield from _shared_engine_errors(config)
    yield from _judge_errors(config)
    yield from _reward_errors(config.reward, rollout.sampling.max_tokens)


def _schedule_errors(config: Config) -> Iterator[str]:
    schedule = config.schedule
    annealed = schedule.anneal != "constant"
    for key in ("prob_senior", "prob_senior_end") if annealed else ("prob_senior",):
        if getattr(schedule, key) == 0:
            yield f"schedule.{key}=0: the senior would write nothing and learn nothing; give a number above 0"
    if annealed and schedule.prob_senior_end == schedule.prob_senior:
        yield (
            f"schedule.anneal={schedule.anneal}: schedule.prob_senior={schedule.prob_senior:g} and schedule.prob_senior_end "
            "are equal; give another, or choose constant"
        )


def _sampling_errors(sampling: SamplingConfig) -> Iterator[str]:
    if 0 <= sampling.temperature < MIN_TEMPERATURE:
        yield (
            f"rollout.sampling.temperature={sampling.temperature}: give a number from {MIN_TEMPERATURE} to {MAX_TEMPERATURE}; "
            "only evaluation may be greedy"
        )
    for key, every_token in (("top_p", 1.0), ("top_k", 0)):
        if (value := getattr(sampling, key)) != every_token:
            yield (
                f"rollout.sampling.{key}={value:g}: tokens that cannot be drawn would bias the importance ratios; "
                f"set it to {every_token:g}; eval.sampling.{key} is free"
            )


def _shared_engine_errors(config: Config) -> Iterator[str]:
    """Yield the settings that exclude one engine for both authors."""
    lora = config.learner.lora
    shared = "one engine writes for both authors (rollout.engines=shared)"
    if not lora.rank or lora.sync == "merged":
        remedy = "learner.lora.sync=adapter" if lora.rank else "learner.lora.rank above 0"
        yield f"rollout.engines=shared: the senior must be the junior with an adapter; set {remedy}, or choose pair"
    if config.junior != [SELF]:
        named = ",".join(config.junior)
        yield f"junior=[{named}]: {shared}, and the junior is the senior's base; choose [self], or rollout.engines=pair"
    if config.junior_translation:
        yield f"junior_translation=true: {shared} in the same tokens; leave one of them out"
    for key, value in given_junior_engine_settings(config).items():
        yield f"{key}={value}: {shared}, and there is no junior's engine; leave one of them out"


def _judge_errors(config: Config) -> Iterator[str]:
    judge = config.judge
    if judge.timeout_s > judge.step_timeout_s:
        yield (
            f"judge.timeout_s={judge.timeout_s:g}: all answers of a step have judge.step_timeout_s={judge.step_timeout_s:g}; "
            "give one answer no more than that"
        )
    try:
        compile_pattern(judge.answer_pattern)
    except ValueError as error:
        yield str(error)
    if config.data.verifier and judge.memory_gib > 0:
        try:
            check_verifier(config.data.verifier, judge.memory_gib)
        except ValueError as error:
            yield str(error)


def _reward_errors(reward: RewardConfig, max_tokens: int) -> Iterator[str]:
    overlong = reward.overlong_buffer_tokens and reward.overlong_penalty
    if not (reward.correct or reward.format or overlong):
        yield (
            f"reward.correct={reward.correct:g}: every reward is 0 (reward.format={reward.format:g}, reward.overlong_penalty="
            f"{reward.overlong_penalty:g} with reward.overlong_buffer_tokens={reward.overlong_buffer_tokens}), and there is "
            "nothing to learn from; give one of them a weight above 0"
        )
    if reward.overlong_buffer_tokens > max_tokens:
        yield (
            f"reward.overlong_buffer_tokens={reward.overlong_buffer_tokens}: a rollout has at most "
            f"rollout.sampling.max_tokens={max_tokens}; give fewer"
        )
