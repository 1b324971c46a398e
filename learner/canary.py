"""The learner's log-probabilities of given texts, with which those of the engines are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from deepspeed.runtime.engine import DeepSpeedEngine

from learner.policy import LogprobHead, Policy


@torch.no_grad()
def text_logprobs(engine: DeepSpeedEngine, texts: Sequence[Sequence[int]]) -> list[float]:
    """Return the log-probabilities of the tokens of `texts` after the first of each, at temperature 1.

    All ranks must call it.
    """
    length = max(map(len, texts))
    rows = [torch.tensor(text) for text in texts]
    input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    positions = torch.cat([torch.arange(len(text) - 1) + length * row for row, text in enumerate(texts)])
    targets = torch.cat([row[1:] for row in rows])
    head = cast(LogprobHead, cast(Policy, engine.module).model.get_output_embeddings())
    temperature, head.temperature = head.temperature, 1.0  # of vLLM's log-probabilities of prompts
    try:
        logprobs, _ = engine(*(tensor.to(engine.device) for tensor in (input_ids, positions, targets)))
    finally:
        head.temperature = temperature
    return logprobs.tolist()
