"""A rollout's line in samples.jsonl: authors, text, log-probabilities, verdict and reward."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tandem.rollout import AUTHOR_NAMES, Group
from tandem.tokenization.pieces import pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Transcript = dict[str, Any]
"""A line of samples.jsonl; docs/report.md lists the fields."""
AUTHOR_COLORS = {"senior": "#0072B2", "junior": "#B26B00"}
"""The authors' colors: Okabe and Ito's, which remain distinct with color blindness."""

DECIMALS = 4
"""Decimal places of a log-probability in nats."""


def transcript(step: int, group: Group, index: int, tokenizer: PreTrainedTokenizerBase, *, held_out: bool) -> Transcript:
    """Return the transcript of rollout `index` of a judged group of training step `step`.

    For a held-out problem, the reward is the verifier's score and there is no advantage.
    """
    rollout, problem, judgement = group.rollouts[index], group.prompt.problem, group.judgements[index]
    texts = pieces(rollout.token_ids.tolist(), tokenizer)
    turns = [
        {
            "author": AUTHOR_NAMES[turn.author],
            "text": "".join(texts[turn.start : turn.stop]),
            "tokens": texts[turn.start : turn.stop],
            "token_ids": rollout.token_ids[turn.start : turn.stop].tolist(),
            "logprobs": rounded(rollout.logprobs[turn.start : turn.stop].tolist()),
        }
        for turn in rollout.turns
    ]
    fields = {
        "step": step,
        "set": "held_out" if held_out else "training",
        "id": rollout.id,
        "problem": problem.id,
        "question": problem.question,
        "gold": problem.answer,
        "junior": rollout.junior,
        "prompt_ids": [int(token) for token in rollout.prompt_ids],
        "turns": turns,
        "response": group.responses[index],
        "end": rollout.end.value,
        "verdict": judgement.verdict.value,
        "extracted": judgement.extracted,
        "reward": float(judgement.score if held_out else group.rewards[index]),
    }
    return fields if held_out else fields | {"advantage": float(group.advantages[index])}


def rounded(logprobs: Iterable[float]) -> list[float | None]:
    """Return log-probabilities for JSON, rounded; values that are not finite become None."""
    return [round(value, DECIMALS) if math.isfinite(value) else None for value in logprobs]
