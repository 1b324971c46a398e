"""The senior in the learner: a Hugging Face causal language model that returns log-probabilities of given tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from tandem.config.learner import LoraConfig
from tandem.logprobs import token_logprobs
from tandem.models.loading import load_config, load_language_model
from tandem.models.logit_transform import LogitTransform, logit_transform

if TYPE_CHECKING:
    from learner.adapter import Adapter
    from learner.sequence_parallel import SequenceParallel


class LogprobHead(nn.Module):
    """A language-model head that maps hidden states to log-probabilities without the logits of the whole batch.

    It is a module that holds the parameters of `head`, tied or not, so that ZeRO-3's hooks gather them around it.
    """

    def __init__(self, head: nn.Module, transform: LogitTransform, *, temperature: float, chunk: int) -> None:
        super().__init__()
        self.weight = cast(nn.Parameter, head.weight)
        self.bias = cast(nn.Parameter | None, getattr(head, "bias", None))
        self.transform, self.temperature, self.chunk = transform, temperature, chunk

    def forward(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies [N] of `targets` [N] for `hidden` [N, H]."""
        return token_logprobs(hidden, self.weight, targets, self.temperature, self.chunk, self.bias, self.transform)


class Policy(nn.Module):
    """The model at `path` (a Hugging Face directory or hub id) with its head replaced by a `LogprobHead`.

    The model stays in evaluation mode while it learns: dropout, layer drop and router jitter are off, because the engines have
    none and both must compute the same distribution. Names and tying of `policy.model.named_parameters()` are the checkpoint's,
    unless `lora` sets a rank: then the model is frozen and its `adapter`, which starts from `seed`, learns. With `sequence`,
    several ranks split each sequence.
    Raises `ValueError` for a model whose logits `LogitTransform` does not describe.
    """

    def __init__(
        self,
        path: str,
        *,
        dtype: torch.dtype,
        temperature: float,
        chunk: int,
        gradient_checkpointing: bool = False,
        lora: LoraConfig | None = None,
        seed: int = 0,
        sequence: SequenceParallel | None = None,
    ) -> None:
        super().__init__()
        config = load_config(path)
        transform = logit_transform(config)
        model = load_language_model(path, dtype, config)
        head = LogprobHead(model.get_output_embeddings(), transform, temperature=temperature, chunk=chunk)
        model.set_output_embeddings(head)
        self.adapter: Adapter | None = None
        if lora and lora.rank:
            # Imported here: peft takes seconds to import.
            from learner.adapter import Adapter

            self.adapter = Adapter(model, path, lora, seed)
            self.register_state_dict_post_hook(_drop_frozen)
        self.model, self.sequence = model.eval(), sequence
        if sequence:
            sequence.apply(model)
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            _checkpoint_in_evaluation_mode(model)

    def forward(self, input_ids: Tensor, positions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies [N] of `targets` [N], which the model predicts at `positions` [N].

        `input_ids` is [B, L], padded on the right; `positions` count through the flattened [B * L].
        """
        if self.sequence:
            return self.sequence.logprobs(self._logprobs, input_ids, positions, targets)
        return self._logprobs(input_ids, positions, targets)

    def _logprobs(self, input_ids: Tensor, positions: Tensor, targets: Tensor, **options: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.model.base_model(input_ids, use_cache=False, **options).last_hidden_state
        return self.model.get_output_embeddings()(hidden.flatten(0, 1)[positions], targets)


def _drop_frozen(policy: nn.Module, state: dict[str, Tensor], *_: object) -> None:
    """Drop from the policy's `state` what does not learn, under each of its names: a tied head has two."""
    trainable = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    for name in state.keys() - trainable:
        del state[name]


def _checkpoint_in_evaluation_mode(model: PreTrainedModel) -> None:
    """Have the layers of `model` recompute their activations although they compute in evaluation mode.

    transformers asks a layer for its mode before it calls it, and recomputes in training mode only. So each layer is in
    training mode, but not while it computes.
    """

    def set_mode(layer: nn.Module, training: bool) -> None:
        layer.training = training

    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.training = True
            layer.register_forward_pre_hook(lambda layer, _: set_mode(layer, False))
            layer.register_forward_hook(lambda layer, *_: set_mode(layer, True), always_call=True)
