"""Groups that no engine of this run writes: those that another run has saved, and random ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from launch.storage.saved_rollouts import Origin, UnreadableRollouts, load_step, read_origin, saved_steps
from tandem.authors import Authors
from tandem.config.schema import FAKE_LONGEST, Config, ConfigError
from tandem.data.random_groups import random_groups
from tandem.rollout import Group, Verdict
from tandem.schedules import schedule_at
from tandem.verify.judgement import plain_judgement

GroupsOf = Callable[[int], list[Group]]
"""What gives the groups that a step (from 1) learns from."""


def fake_groups(config: Config, authors: Authors) -> GroupsOf:
    """Random groups of the configured sizes, with as much of the senior's writing as the schedule gives it."""
    rollout = config.rollout
    longest = config.learner_only == FAKE_LONGEST
    most = config.data.max_prompt_tokens, rollout.sampling.max_tokens

    def groups_of(step: int) -> list[Group]:
        groups = random_groups(
            config.seed * 1_000_003 + step,
            groups=rollout.prompts_per_step,
            size=rollout.group_size,
            vocabulary=authors.vocabulary,
            prompt_tokens=(most[0] if longest else 1, most[0]),
            tokens=(most[1] if longest else 1, most[1]),
            senior_share=schedule_at(config, step).prob_senior,
            logprob=-math.log(authors.vocabulary),
        )
        for group in groups:
            group.rewards = group.advantages
            group.judgements = [plain_judgement(Verdict.WRONG)] * len(group.rollouts)
        return groups

    return groups_of


def steps_of(config: Config) -> list[Path]:
    """Return the files of rollouts, a step each, in the run folder `learner_only`. Raises `ConfigError` when there are none."""
    run = Path(config.learner_only).resolve()
    if steps := saved_steps(run / "rollouts"):
        return steps
    raise ConfigError(
        f"learner_only={config.learner_only}: {run} holds no rollouts; name a run folder of rollouts_only=true or "
        "log.rollouts=true"
    )


def saved_groups(config: Config, authors: Authors) -> GroupsOf:
    """What the run folder `learner_only` has saved, step by step and then from its beginning.

    Raises `ConfigError` when there is nothing, when it is damaged, and when it was sampled from something else than what is
    to learn.
    """
    key, run = f"learner_only={config.learner_only}", Path(config.learner_only).resolve()
    steps = steps_of(config)
    own = Origin.of(authors, config.rollout.sampling.temperature)
    try:
        for theirs in map(read_origin, steps):
            if theirs != own:
                raise ConfigError("\n".join(f"{key}: {difference}" for difference in _differences(theirs, own, run)))
    except UnreadableRollouts as error:
        raise ConfigError(f"{key}: {error}; write them again") from error

    def groups_of(step: int) -> list[Group]:
        return load_step(steps[(step - 1) % len(steps)])

    return groups_of


def _differences(theirs: Origin, own: Origin, run: Path) -> Iterator[str]:
    """Why a learner of `own` may not learn from rollouts of `theirs`: each with the key that mends it."""
    remedy = f"that {run / 'config.yaml'} names"
    if theirs.tokenizer != own.tokenizer:
        yield f"its rollouts are in the tokens of another tokenizer; set model to the one {remedy}"
    if theirs.vocabulary != own.vocabulary:
        yield f"its models had {theirs.vocabulary} outputs, not {own.vocabulary}; set model and junior to those {remedy}"
    if theirs.model != own.model:
        yield f"its rollouts were written by another base model; set model to the one {remedy}"
    if theirs.temperature != own.temperature:
        yield f"its rollouts were drawn at another temperature; set rollout.sampling.temperature={theirs.temperature:g}"
