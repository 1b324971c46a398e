"""The learner's log-probabilities of given texts, with which those of the engines are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from deepspeed.runtime.engine import DeepSpeedEngine

from learner.policy import LogprobHead, Policy
from tandem.measures.scoring import Text, padded


@torch.no_grad()
def text_logprobs(engine: DeepSpeedEngine, texts: Sequence[Sequence[int]]) -> list[float]:
    """Return the log-probabilities of the tokens of `texts` after the first of each, at temperature 1.

    All ranks must call it.
    """
    input_ids, positions = padded([Text(text[:1], text[1:]) for text in texts])
    targets = input_ids.flatten()[positions + 1]
    head = cast(LogprobHead, cast(Policy, engine.module).model.get_output_embeddings())
    temperature, head.temperature = head.temperature, 1.0  # of vLLM's log-probabilities of prompts
    try:
        logprobs, _ = engine(*(tensor.to(engine.device) for tensor in (input_ids, positions, targets)))
    finally:
        head.temperature = temperature
    return logprobs.tolist()
