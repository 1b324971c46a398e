"""What models say of given texts: their logits for every token of a completion, by one forward pass of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tandem.bucketing import buckets
from tandem.logprobs import refuse_logit_transforms
from tandem.measures.distributions import cross_entropies, divergences
from tandem.models.loading import load_config, load_language_model


@dataclass(frozen=True)
class Text:
    """A prompt and its completion, in a model's tokens."""

    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    """one or more"""

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.token_ids)


class Statistic(Protocol):
    """What is taken of the models' logits."""

    def __call__(self, targets: Tensor, *logits: Tensor) -> tuple[Tensor, ...]:
        """Values [N] of each kind, for the tokens `targets` [N] and each model's `logits` [N, V]."""
        ...


def token_cross_entropy(targets: Tensor, *logits: Tensor) -> tuple[Tensor, ...]:
    """Each model's cross-entropy."""
    return tuple(cross_entropies(each, targets) for each in logits)


def drift(targets: Tensor, *logits: Tensor) -> tuple[Tensor, ...]:
    """The divergence of the first model from the second, and of the second from the first."""
    ours, theirs = logits
    return divergences(ours, theirs)


class Reader:
    """A model that reads: a Hugging Face directory, held on `device` in `dtype` (`float32` or `bfloat16`).

    Raises `ValueError` for a model whose logits are more than its head makes of the last hidden states.
    """

    def __init__(self, path: Path, dtype: str, device: str) -> None:
        config = load_config(path)
        refuse_logit_transforms(config, path)
        self.device = device
        self._model: PreTrainedModel = load_language_model(path, getattr(torch, dtype), config).eval().to(device)

    def hidden(self, ids: Tensor) -> Tensor:
        """The last hidden states [B, L, H] for `ids` [B, L], padded on the right."""
        return self._model.base_model(ids, use_cache=False).last_hidden_state

    @property
    def head(self) -> nn.Module:
        """From hidden states [N, H] to logits [N, V]."""
        return self._model.get_output_embeddings()


@torch.inference_mode()
def sums(
    statistic: Statistic, readers: Sequence[Reader], texts: Sequence[Text], *, batch_tokens: int, chunk_tokens: int
) -> np.ndarray:
    """`statistic` summed over each text's completion, end-of-sequence included: float64 [kinds, texts].

    All readers are on one device. `batch_tokens` pass through a model at a time (a longer text by itself), and the logits of
    `chunk_tokens` exist at a time.
    """
    device = readers[0].device
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for bucket in buckets([len(text) for text in texts], batch_tokens):
        ids, positions, owners = _padded([texts[index] for index in bucket])
        hidden = [reader.hidden(ids.to(device)).flatten(0, 1) for reader in readers]
        targets = ids.flatten()[positions + 1]
        for chunk in _chunks(len(positions), chunk_tokens):
            rows = positions[chunk].to(device)
            logits = [reader.head(states[rows]) for reader, states in zip(readers, hidden, strict=True)]
            values = torch.stack(statistic(targets[chunk].to(device), *logits)).double().cpu().numpy()
            parts.append((np.array(bucket)[owners[chunk].numpy()], values))
    owners_of_all = np.concatenate([owners for owners, _ in parts])
    values_of_all = np.concatenate([values for _, values in parts], axis=1)
    return np.stack([np.bincount(owners_of_all, kind, minlength=len(texts)) for kind in values_of_all])


def _padded(texts: Sequence[Text]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids [B, L], padded on the right, where causal attention never looks; the positions [N] in the flattened ids that
    predict the completions' tokens; and the text [N] that each belongs to."""
    longest = max(map(len, texts))
    ids = torch.zeros(len(texts), longest, dtype=torch.int64)
    positions, owners = [], []
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor([*text.prompt_ids, *text.token_ids])
        first = row * longest + len(text.prompt_ids) - 1
        positions.append(torch.arange(first, first + len(text.token_ids)))
        owners.append(torch.full((len(text.token_ids),), row))
    return ids, torch.cat(positions), torch.cat(owners)


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
