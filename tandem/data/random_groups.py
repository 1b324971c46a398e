"""Groups of random tokens, for learners without engines."""

from __future__ import annotations

import numpy as np

from tandem.rollout import FROZEN_VERSION, EndReason, Group, Problem, Prompt, Rollout
from tandem.schedule import Schedule


def random_groups(
    seed: int,
    *,
    groups: int,
    size: int,
    vocabulary: int,
    prompt_tokens: tuple[int, int],
    tokens: tuple[int, int],
    senior_share: float,
    logprob: float,
) -> list[Group]:
    """Return `groups` groups of `size` rollouts with advantages; the behavior log-probabilities are near `logprob`.

    `prompt_tokens` and `tokens` are the least and the most tokens of a prompt and of a rollout. The senior writes about
    `senior_share` of a rollout's tokens, the first one included.
    """
    rng = np.random.default_rng(seed)
    result = []
    for g in range(groups):
        prompt_ids = rng.integers(0, vocabulary, rng.integers(*prompt_tokens, endpoint=True)).astype(np.int32)
        rollouts = []
        for r in range(size):
            length = int(rng.integers(*tokens, endpoint=True))
            authorship = (rng.random(length) < senior_share).astype(np.int8)
            authorship[0] = 1
            rollouts.append(
                Rollout(
                    id=f"{g}/{r}",
                    prompt_ids=prompt_ids,
                    token_ids=rng.integers(0, vocabulary, length).astype(np.int32),
                    authorship=authorship,
                    logprobs=rng.normal(logprob, 0.3, length).astype(np.float32),
                    weight_versions=np.where(authorship, 0, FROZEN_VERSION).astype(np.int32),
                    end=EndReason.EOS,
                    seed=r,
                )
            )
        prompt = Prompt(Problem(str(g), "?", "!"), tuple(prompt_ids.tolist()))
        result.append(Group(prompt, rollouts, Schedule(senior_share), advantages=rng.normal(size=size).astype(np.float32)))
    return result
