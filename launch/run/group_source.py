"""Where a run's groups come from: the prompt, schedule and seeds at each position of the stream of problems."""

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
    config: Config, pool: RolloutPool, authors: Authors, problems: ProblemSet, resumed_step: int, place: StreamPosition
) -> AsyncGroupSource | SyncGroupSource:
    """Return the source of groups of a run that resumes after `resumed_step` at `place` in its stream of problems.

    It is asynchronous if the run tolerates staleness.
    """
    batch = config.rollout.prompts_per_step
    # Copies, because tokenizers are not safe to share with the thread of the asynchronous source.
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
        buffer = StalenessBuffer(batch, staleness, steps=config.steps - resumed_step, version=resumed_step, place=place)
        return AsyncGroupSource(pool, buffer, task_at, max_tokens)
    return SyncGroupSource(pool, task_at, max_tokens, deadline_s=config.rollout.straggler_deadline_s, place=place)
