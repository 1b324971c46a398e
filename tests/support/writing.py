"""Generate rollouts on real engines, and score them with plain transformers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from actors.group_task import GroupTask
from tandem.config.rollout import SamplingConfig
from tandem.rollout import Prompt, Rollout
from tandem.schedule import Schedule
from tests.support.engine_pair import EnginePair

MAX_TOKENS = 96
JUNIORS = 5
"""the number of juniors of the session's engines"""


def group_tasks(
    prompts: Sequence[Prompt],
    schedule: Schedule,
    tag: str,
    *,
    temperature: float = 1.0,
    max_tokens: int = MAX_TOKENS,
    group_size: int = 1,
    weights: tuple[float, ...] = (1.0,),
    repeatable: bool = False,
    **distribution: Any,
) -> list[GroupTask]:
    """Return a group task for every prompt; `weights` are those of the juniors."""
    sampling = SamplingConfig(temperature, max_tokens, **distribution)
    ids = [tuple(f"{tag}/{i}/{k}" for k in range(group_size)) for i in range(len(prompts))]
    seeds = [tuple(1000 * i + k for k in range(group_size)) for i in range(len(prompts))]
    return [
        GroupTask(prompt, names, schedule_seeds, schedule, sampling, weights, repeatable)
        for prompt, names, schedule_seeds in zip(prompts, ids, seeds, strict=True)
    ]


async def write_groups(engines: EnginePair, tasks: Sequence[GroupTask]) -> list[Rollout]:
    """Return the rollouts of all tasks, generated at the same time."""
    groups = await asyncio.gather(*map(engines.actor.write_group, tasks))
    return [rollout for group in groups for rollout in group.rollouts]


def write(engines: EnginePair, prompts: Sequence[Prompt], schedule: Schedule, tag: str, **options: Any) -> list[Rollout]:
    """Return the rollouts of `group_tasks`, generated at the same time."""
    return engines.run(write_groups(engines, group_tasks(prompts, schedule, tag, **options)))


def only(junior: int) -> tuple[float, ...]:
    """Return the weights that always draw `junior`."""
    return tuple(1.0 if index == junior else 1e-12 for index in range(JUNIORS))


def texts(rollouts: Sequence[Rollout]) -> list[list[int]]:
    """Return the tokens of each rollout."""
    return [rollout.token_ids.tolist() for rollout in rollouts]


def forward_logprobs(model: torch.nn.Module, rollout: Rollout, temperature: float = 1.0) -> np.ndarray:
    """Return log_softmax(logits / T) of every token by plain transformers; float32 [T]."""
    ids = torch.tensor([*rollout.prompt_ids, *rollout.token_ids])
    with torch.no_grad():
        logits = model(ids[None]).logits[0].float() / temperature
    start = len(rollout.prompt_ids) - 1
    return logits.log_softmax(-1)[start:-1].gather(1, ids[start + 1 :, None])[:, 0].numpy()


def engine_logprobs(engines: EnginePair, author: int, ids: list[int], request_id: str) -> np.ndarray:
    """Return log p of every token but the first, by the engine of `author`; [T - 1]."""
    # Tests that start no engine import this module too, and vLLM takes seconds.
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt

    async def score() -> Any:
        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False, skip_reading_prefix_cache=True)
        prompt = TokensPrompt(prompt_token_ids=ids)
        return [output async for output in engines.actor._engines[author, 0].generate(prompt, params, request_id)][-1]

    entries = engines.run(score()).prompt_logprobs
    return np.array([entry[token].logprob for token, entry in zip(ids[1:], entries[1:], strict=True)])


def prompt_logprobs(model: PreTrainedModel, ids: list[int]) -> np.ndarray:
    """Return log p of every token but the first, by transformers; float32 [T - 1]."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    logprobs = logits.log_softmax(-1)
    return logprobs[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].numpy()
