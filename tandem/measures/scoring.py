"""Scoring of given texts: statistics of models' logits for every token of a completion, by forward passes of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tandem.buckets import buckets
from tandem.measures.distributions import cross_entropies
from tandem.models.loading import load_config, load_language_model
from tandem.models.logit_transform import logit_transform


@dataclass(frozen=True)
class Text:
    """A prompt and its completion in the tokens of a model."""

    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    """not empty"""
    ended: bool = False
    """whether the last token ends the sequence"""

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.token_ids)


class Statistic(Protocol):
    """A statistic of the models' logits."""

    def __call__(self, targets: Tensor, *logits: Tensor) -> tuple[Tensor, ...]:
        """Return one or more values [N] for the tokens `targets` [N] and each model's `logits` [N, V]."""
        ...


def token_cross_entropy(targets: Tensor, *logits: Tensor) -> tuple[Tensor, ...]:
    """Return the cross-entropy of each model."""
    return tuple(cross_entropies(each, targets) for each in logits)


class ScoringModel:
    """A model from a Hugging Face directory, held on `device` in `dtype` (`float32` or `bfloat16`).

    Raises `ValueError` for a model whose logits `LogitTransform` does not describe.
    """

    def __init__(self, path: Path, dtype: str, device: str) -> None:
        config = load_config(path)
        self._transform = logit_transform(config)
        self.device = device
        self._model: PreTrainedModel = load_language_model(path, getattr(torch, dtype), config).eval().to(device)

    def hidden(self, ids: Tensor) -> Tensor:
        """Return the last hidden states [B, L, H] for `ids` [B, L], padded on the right."""
        return self._model.base_model(ids, use_cache=False).last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [N, V] for hidden states [N, H]."""
        return self._transform.apply_(self._model.get_output_embeddings()(hidden))


@torch.inference_mode()
def token_values(
    statistic: Statistic, models: Sequence[ScoringModel], texts: Sequence[Text], *, batch_tokens: int, chunk_tokens: int
) -> list[np.ndarray]:
    """Return `statistic` for every token of each text's completion, end-of-sequence included: float64 [values, tokens].

    All models are on one device. `batch_tokens` tokens pass through a model at a time (a longer text alone), and logits exist
    for `chunk_tokens` tokens at a time.
    """
    device = models[0].device
    by_text: dict[int, np.ndarray] = {}
    for bucket in buckets([len(text) for text in texts], batch_tokens):
        ids, positions = padded([texts[index] for index in bucket])
        hidden = [model.hidden(ids.to(device)).flatten(0, 1) for model in models]
        targets = ids.flatten()[positions + 1]
        parts = []
        for chunk in _chunks(len(positions), chunk_tokens):
            rows = positions[chunk].to(device)
            logits = [model.logits(states[rows]) for model, states in zip(models, hidden, strict=True)]
            parts.append(torch.stack(statistic(targets[chunk].to(device), *logits)).double().cpu().numpy())
        ends = np.cumsum([len(texts[index].token_ids) for index in bucket])
        by_text |= zip(bucket, np.split(np.concatenate(parts, axis=1), ends[:-1], axis=1), strict=True)
    return [by_text[index] for index in range(len(texts))]


def padded(texts: Sequence[Text]) -> tuple[Tensor, Tensor]:
    """Return token ids [B, L], padded on the right, and the positions [N] in the flattened ids that predict the completions'
    tokens, text by text."""
    longest = max(map(len, texts))
    ids = torch.zeros(len(texts), longest, dtype=torch.int64)
    positions = []
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor([*text.prompt_ids, *text.token_ids])
        first = row * longest + len(text.prompt_ids) - 1
        positions.append(torch.arange(first, first + len(text.token_ids)))
    return ids, torch.cat(positions)


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
