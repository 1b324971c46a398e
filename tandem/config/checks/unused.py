"""Find settings that have no effect under the others.

A setting counts as given if it differs from its default. Under `schedule=solo` the schedule's settings are not checked: the
control of a tandem run is the same command with `algo=grpo`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from tandem.config.data import ENDLESS, FILES
from tandem.config.evaluation import MODEL_MEASURES
from tandem.config.schema import Config
from tandem.models.zoo.recipes import ZOO

if TYPE_CHECKING:
    from tandem.config.rollout import ScheduleConfig

DEFAULTS = Config()


class Conditional(NamedTuple):
    """A setting that has an effect only under another."""

    key: str
    used: Callable[[Any], bool]
    """whether it has an effect in a `Config`, or a `ScheduleConfig` for `SCHEDULE_CONDITIONAL`"""
    condition: str
    """the same in words, as settings"""


def _is_random(schedule: ScheduleConfig) -> bool:
    """Whether the schedule draws the author at random."""
    return schedule.name != "alternate" and not (schedule.alternates and schedule.name in ("step", "chunk"))


CONDITIONAL = [
    Conditional(
        "cluster.gpus_per_node", lambda c: c.cluster.gpus and c.mode.name == "cluster", "cluster.gpus and mode=cluster"
    ),
    Conditional("cluster.gpu_gib", lambda c: c.cluster.gpus, "cluster.gpus"),
    Conditional("profile_step", lambda c: c.profile, "profile=true"),
    Conditional("model.recipe", lambda c: c.model.source == "zoo", "model.source=zoo"),
    Conditional(
        "model.recipe_seed",
        lambda c: c.model.source == "zoo" or any(name.startswith(ZOO) for name in c.junior),
        "model.source=zoo, or a junior zoo:RECIPE",
    ),
    Conditional("model.path", lambda c: c.model.source == "hf", "model=hf"),
    *(
        Conditional(f"data.{key}", lambda c: c.data.source not in ENDLESS, f"data={', '.join(FILES)} or hub")
        for key in ("path", "question_field", "answer_field", "on_bad_line", "expected_rows")
    ),
    Conditional("data.subset", lambda c: c.data.source == "hub", "data=hub"),
    Conditional("data.split", lambda c: c.data.source == "hub", "data=hub"),
    *(
        Conditional(f"data.{key}", lambda c: c.data.source == "reasoning_gym", "data=reasoning_gym")
        for key in ("tasks", "task_weights", "task_options")
    ),
    Conditional("data.min_pass_rate", lambda c: c.data.pass_rates, "data.pass_rates"),
    Conditional("data.max_pass_rate", lambda c: c.data.pass_rates, "data.pass_rates"),
    Conditional("rollout.gpu_memory_fraction", lambda c: c.mode.device != "cpu", "mode.device other than cpu"),
    Conditional("rollout.junior_gpu_memory_fraction", lambda c: c.mode.device != "cpu", "mode.device other than cpu"),
    Conditional("reward.overlong_buffer_tokens", lambda c: c.reward.overlong_penalty, "reward.overlong_penalty above 0"),
    Conditional("reward.overlong_penalty", lambda c: c.reward.overlong_buffer_tokens, "reward.overlong_buffer_tokens"),
    Conditional("algo.junior_token_loss_weight", lambda c: c.schedule.name != "solo", "a schedule in which a junior writes"),
    Conditional("algo.lambda_junior", lambda c: c.schedule.name != "solo", "a schedule in which a junior writes"),
    Conditional("algo.kl_reference", lambda c: c.algo.kl_coef, "algo.kl_coef above 0"),
    Conditional("algo.dual_clip", lambda c: c.algo.policy_loss != "cispo", "algo.policy_loss=clip or gspo"),
    Conditional("algo.kl_estimator", lambda c: c.algo.kl_coef, "algo.kl_coef above 0"),
    Conditional("algo.mismatch_low", lambda c: c.algo.mismatch not in ("none", "tis"), "algo.mismatch=icepop or sequence_mask"),
    Conditional("algo.mismatch_high", lambda c: c.algo.mismatch != "none", "algo.mismatch=tis, icepop or sequence_mask"),
    Conditional("learner.min_lr_ratio", lambda c: c.learner.lr_schedule != "constant", "learner.lr_schedule=linear or cosine"),
    *(
        Conditional(f"learner.lora.{key}", lambda c: c.learner.lora.rank, "learner.lora.rank above 0")
        for key in ("alpha", "targets", "lr_scale", "sync", "merged_export")
    ),
    Conditional("eval.prefixes", lambda c: "takeover" in c.eval.measures, "takeover among eval.measures"),
    Conditional(
        "eval.scored_samples",
        lambda c: not set(MODEL_MEASURES).isdisjoint(c.eval.measures),
        f"{', '.join(MODEL_MEASURES[:-1])} or {MODEL_MEASURES[-1]} among eval.measures",
    ),
    *(
        Conditional(f"stop.{key}", lambda c: c.stop.metric, "stop.metric")
        for key in ("patience", "min_improvement", "minimize")
    ),
    Conditional("checkpoint.keep_last", lambda c: c.checkpoint.save_every, "checkpoint.save_every above 0"),
    Conditional("checkpoint.export", lambda c: c.checkpoint.save_every, "checkpoint.save_every above 0"),
    Conditional(
        "log.export_fallback", lambda c: c.log.export and not c.rollouts_only, "log.export=true and rollouts_only=false"
    ),
]
"""The settings that have an effect only under others, but for those of schedules."""
SCHEDULE_CONDITIONAL = [
    Conditional("max_gap_tokens", lambda s: s.name in ("word", "alternate"), "name=word or alternate"),
    Conditional("chunk_tokens", lambda s: s.name == "chunk", "name=chunk"),
    Conditional("alternates", lambda s: s.name in ("step", "chunk"), "name=step or chunk"),
    Conditional("prob_senior", _is_random, "alternates=false and a name other than alternate"),
    Conditional("anneal", _is_random, "alternates=false and a name other than alternate"),
    Conditional("prob_senior_end", lambda s: s.anneal != "constant", "anneal=linear or cosine"),
]
"""The same for the settings of `schedule`, and of each schedule in `eval.handoff`; their keys are relative to it."""


def unused_errors(config: Config) -> Iterator[str]:
    """Yield a line for each setting that is given and has no effect: the key, its value, what it needs."""
    return _errors(unused(config))


def unused_schedule_errors(schedule: ScheduleConfig, prefix: str) -> Iterator[str]:
    """Yield the lines of `unused_errors` for the settings of one schedule, whose keys begin with `prefix`."""
    return _errors(_unused(prefix, SCHEDULE_CONDITIONAL, schedule, DEFAULTS.schedule))


def _errors(settings: Iterable[tuple[str, Any, Any, str]]) -> Iterator[str]:
    for key, value, _, condition in settings:
        yield f"{key}={value}: it has no effect without {condition}; set that, or leave it out"


def unused(config: Config) -> Iterator[tuple[str, Any, Any, str]]:
    """Yield the key, value, default and missing condition of each setting that is given and has no effect."""
    yield from _unused("", CONDITIONAL, config, DEFAULTS)
    if config.schedule.name != "solo":
        yield from _unused("schedule.", SCHEDULE_CONDITIONAL, config.schedule, DEFAULTS.schedule)
    for index, schedule in enumerate(config.eval.handoff):
        yield from _unused(f"eval.handoff[{index}].", SCHEDULE_CONDITIONAL, schedule, DEFAULTS.schedule)


def _unused(
    prefix: str, conditional: list[Conditional], config: object, defaults: object
) -> Iterator[tuple[str, Any, Any, str]]:
    for key, used, condition in conditional:
        value, default = attrgetter(key)(config), attrgetter(key)(defaults)
        if value != default and not used(config):
            yield prefix + key, value, default, condition
