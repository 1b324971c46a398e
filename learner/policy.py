"""The senior as the learner sees it: a Hugging Face causal language model that yields log-probabilities of given tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from tandem.logprobs import refuse_logit_transforms, token_logprobs


class LogprobHead(nn.Module):
    """A language-model head that takes hidden states to log-probabilities, never to a whole batch's logits.

    It is a module of its own, holding the (perhaps tied) head weight, so that ZeRO-3's hooks gather that weight around it.
    """

    def __init__(self, weight: nn.Parameter, *, temperature: float, chunk: int) -> None:
        super().__init__()
        self.weight = weight
        self.temperature, self.chunk = temperature, chunk

    def forward(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies [N] of `targets` [N] for `hidden` [N, H]; see `tandem.logprobs`."""
        return token_logprobs(hidden, self.weight, targets, self.temperature, self.chunk)


class Policy(nn.Module):
    """The model at `path` (a Hugging Face directory or hub id) with its head replaced by a `LogprobHead`.

    Names and tying of its parameters (`policy.model.named_parameters()`) are the checkpoint's. Raises `ValueError` for a model
    whose logits are more than hidden @ weight.T.
    """

    def __init__(
        self,
        path: str,
        *,
        dtype: torch.dtype,
        temperature: float,
        chunk: int,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        config = AutoConfig.from_pretrained(path)
        config.attention_dropout = 0.0  # the engines have none, and both must compute the same distribution
        refuse_logit_transforms(config, path, "; choose another model.path")
        model = AutoModelForCausalLM.from_pretrained(path, config=config, dtype=dtype, attn_implementation="sdpa")
        head = model.get_output_embeddings()
        if getattr(head, "bias", None) is not None:
            raise ValueError(f"{path}: a head with a bias is not supported; choose another model.path")
        model.set_output_embeddings(LogprobHead(head.weight, temperature=temperature, chunk=chunk))
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.model = model.train()

    def forward(self, input_ids: Tensor, positions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies [N] of `targets` [N], which the model predicts at `positions` [N].

        `input_ids` is [B, L], padded on the right; `positions` count through the flattened [B * L].
        """
        hidden = self.model.base_model(input_ids, use_cache=False).last_hidden_state
        return self.model.get_output_embeddings()(hidden.flatten(0, 1)[positions], targets)
