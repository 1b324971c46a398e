"""Groups of random tokens, for tests that need no model to have written them."""

from __future__ import annotations

import numpy as np

from tandem.rollout import FROZEN_VERSION, EndReason, Group, Problem, Prompt, Rollout


def random_groups(
    seed: int, *, groups: int = 4, size: int = 4, vocabulary: int = 200, max_tokens: int = 30, logprob: float = -5.3
) -> list[Group]:
    """`groups` groups of `size` rollouts with advantages; the behaviour log-probabilities are near `logprob`."""
    rng = np.random.default_rng(seed)
    result = []
    for g in range(groups):
        prompt_ids = rng.integers(0, vocabulary, rng.integers(2, 9)).astype(np.int32)
        rollouts = []
        for r in range(size):
            length = int(rng.integers(4, max_tokens + 1))
            authorship = rng.integers(0, 2, length).astype(np.int8)
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
        result.append(Group(prompt, rollouts, advantages=rng.normal(size=size).astype(np.float32)))
    return result
