"""Where a run's groups come from: which prompts, schedule and seeds stand at which position of the stream."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache

from actors.async_groups import AsyncGroupSource
from actors.in_turn import SyncGroupSource
from actors.rollout import GroupTask
from actors.rollout_pool import RolloutPool
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.data.problems import ProblemSet
from tandem.data.prompts import encode
from tandem.rollout import Prompt
from tandem.schedules import schedule_at
from tandem.staleness import StalenessBuffer, StreamPosition


def group_source(
    config: Config, pool: RolloutPool, authors: Authors, problems: ProblemSet, done: int, place: StreamPosition
) -> AsyncGroupSource | SyncGroupSource:
    """What writes the groups of a run that goes on after step `done` at `place` in its stream of problems: ahead of the learner
    by as much staleness as it tolerates, or in turn with it.
    """
    batch = config.rollout.prompts_per_step
    # Copies, since tokenizers are not safe to share with the thread that writes ahead.
    tokenizer, junior_tokenizers = deepcopy((authors.tokenizer, authors.junior_tokenizers))

    @lru_cache(maxsize=4)
    def prompts(step: int) -> list[Prompt]:
        return encode(problems.train.batch(step - 1, batch), tokenizer, config.data, junior_tokenizers)[0]

    def task_at(position: int) -> GroupTask:
        step, index = position // batch + 1, position % batch
        schedule, name = schedule_at(config, step), f"step{step}/{index}"
        return pool.task(prompts(step)[index], config.rollout.group_size, schedule, config.rollout.sampling, name)

    max_tokens = config.rollout.sampling.max_tokens
    if staleness := config.rollout.max_staleness:
        buffer = StalenessBuffer(batch, staleness, steps=config.steps - done, version=done, place=place)
        return AsyncGroupSource(pool, buffer, task_at, max_tokens)
    return SyncGroupSource(pool, task_at, max_tokens, deadline_s=config.rollout.straggler_deadline_s, place=place)
