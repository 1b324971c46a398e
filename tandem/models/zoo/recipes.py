"""What the base models of the zoo are made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

CODE_VERSION = 1
"""Raise it when a change of the code makes another model of the same recipe or package: cached models are then made anew."""
VOCAB_SIZE = 384
"""The most tokens that a tokenizer of the zoo has."""
ZOO = "zoo:"
"""What a junior's name begins with if a recipe follows."""


@dataclass(frozen=True)
class Shape:
    """The size of a Qwen3 model whose input and output embeddings are tied."""

    hidden_size: int = 128
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    intermediate_size: int = 384
    max_position_embeddings: int = 8192


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a base model: what it reads, for how long, and from which weights it starts.

    `parent` names the recipe whose weights, tokenizer and shape it continues from; empty: from scratch, with `shape`.
    `jargon` is the share of solutions in the jargon dialect; `slip_plain` and `slip_jargon` are the chances that a step's
    result is wrong in either, which decide how often the model will be right.
    """

    name: str
    jargon: float
    slip_plain: float
    slip_jargon: float
    steps: int
    lr: float
    parent: str = ""
    seed: int = 1
    batch_size: int = 32
    warmup_steps: int = 30
    min_lr_ratio: float = 0.05
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    grad_clip: float = 1.0
    shape: Shape = Shape()

    @property
    def ancestor(self) -> Recipe | None:
        """The recipe it continues from, of the same seed."""
        return replace(RECIPES[self.parent], seed=self.seed) if self.parent else None

    @property
    def built_shape(self) -> Shape:
        """The shape of the model that comes of it: its ancestor's if it has one."""
        return self.ancestor.built_shape if self.ancestor else self.shape

    @property
    def digest(self) -> str:
        """A hash of all that determines the result, the parent's recipe included: the name of the cached model."""
        ancestry = self.ancestor.digest if self.ancestor else ""
        content = json.dumps([CODE_VERSION, ancestry, asdict(self)], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=6).hexdigest()


RECIPES = {
    recipe.name: recipe
    for recipe in [
        Recipe(name="plain", jargon=0.06, slip_plain=0.15, slip_jargon=0.15, steps=600, lr=3e-3),
        # A senior that prefers a shorthand which its junior, `plain`, hardly knows.
        Recipe(name="jargon", parent="plain", jargon=0.75, slip_plain=0.18, slip_jargon=0.07, steps=450, lr=2e-3),
    ]
}
"""The recipes that `model.recipe` may name."""
