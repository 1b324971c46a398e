"""The groups of a run without engines: those that another run has saved, or random ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from tandem.authors import Authors
from tandem.config.schema import FAKE_LONGEST, Config, ConfigError
from tandem.data.random_groups import random_groups
from tandem.records.run_record import CONFIG, SAVED_ROLLOUTS
from tandem.records.saved_rollouts import Origin, UnreadableRollouts, load_step, read_origin
from tandem.records.step_folders import step_folders
from tandem.rollout import Group, Verdict
from tandem.schedule import schedule_at
from tandem.verify.judgement import plain_judgement

StepGroups = Callable[[int], list[Group]]
"""Returns the groups that a step (from 1) learns from."""


def random_step_groups(config: Config, authors: Authors) -> StepGroups:
    """Return random groups of the configured sizes; the schedule says what share of the tokens is the senior's."""
    rollout = config.rollout
    longest = config.learner_only == FAKE_LONGEST
    max_prompt_tokens, max_tokens = config.data.max_prompt_tokens, rollout.sampling.max_tokens

    def groups_of(step: int) -> list[Group]:
        groups = random_groups(
            config.seed * 1_000_003 + step,
            groups=rollout.prompts_per_step,
            size=rollout.group_size,
            vocabulary=authors.vocabulary,
            prompt_tokens=(max_prompt_tokens if longest else 1, max_prompt_tokens),
            tokens=(max_tokens if longest else 1, max_tokens),
            senior_share=schedule_at(config, step).prob_senior,
            logprob=-math.log(authors.vocabulary),
        )
        for group in groups:
            group.rewards = group.advantages
            group.judgements = [plain_judgement(Verdict.WRONG)] * len(group.rollouts)
        return groups

    return groups_of


def find_saved_steps(config: Config) -> list[Path]:
    """Return the saved steps in the run folder `learner_only`. Raises `ConfigError` when there are none."""
    run = Path(config.learner_only).resolve()
    if steps := list(step_folders(run / SAVED_ROLLOUTS).values()):
        return steps
    raise ConfigError(
        f"learner_only={config.learner_only}: {run} holds no rollouts; name a run folder of rollouts_only=true or "
        "log.rollouts=true"
    )


def saved_step_groups(config: Config, authors: Authors) -> StepGroups:
    """Return the groups in the run folder `learner_only`, one saved step after the other, and again from the first.

    Raises `ConfigError` when there are none, when they are damaged, and when they are of another model, tokenizer or
    temperature.
    """
    key, run = f"learner_only={config.learner_only}", Path(config.learner_only).resolve()
    steps = find_saved_steps(config)
    learner_origin = Origin.of(authors, config.rollout.sampling.temperature)
    try:
        for saved_origin in map(read_origin, steps):
            if saved_origin != learner_origin:
                differences = _differences(saved_origin, learner_origin, run)
                raise ConfigError("\n".join(f"{key}: {difference}" for difference in differences))
    except UnreadableRollouts as error:
        raise ConfigError(f"{key}: {error}; write them again") from error

    def groups_of(step: int) -> list[Group]:
        return load_step(steps[(step - 1) % len(steps)])

    return groups_of


def _differences(saved: Origin, learner: Origin, run: Path) -> Iterator[str]:
    """Yield each reason why the learner may not learn from the saved rollouts, with the key that mends it."""
    remedy = f"that {run / CONFIG} names"
    if saved.tokenizer != learner.tokenizer:
        yield f"its rollouts are in the tokens of another tokenizer; set model to the one {remedy}"
    if saved.vocabulary != learner.vocabulary:
        yield f"its models had {saved.vocabulary} outputs, not {learner.vocabulary}; set model and junior to those {remedy}"
    if saved.model != learner.model:
        yield f"its rollouts were written by another base model; set model to the one {remedy}"
    if saved.temperature != learner.temperature:
        yield f"its rollouts were drawn at another temperature; set rollout.sampling.temperature={saved.temperature:g}"
