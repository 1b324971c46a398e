"""The recipes of the zoo's base models."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

CODE_VERSION = 1
"""Increase it when a change of the code changes the model of a recipe or package: cached models are then built again."""
VOCAB_SIZE = 384
"""The largest vocabulary of a tokenizer of the zoo."""
ZOO = "zoo:"
"""The prefix of a junior's name that names a recipe."""


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


SMALL = Shape(
    hidden_size=32, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=32, intermediate_size=96
)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a base model: initial weights, data and training.

    `parent` names the recipe whose weights, tokenizer and shape it continues from; empty: from scratch, with `shape`.
    `jargon` is the share of solutions in the jargon dialect. `slip_plain` and `slip_jargon` are the probabilities that a
    step's result is wrong in each dialect; they determine the model's accuracy.
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
        """Return the recipe that this one continues from, with the same seed; None: from scratch."""
        return replace(RECIPES[self.parent], seed=self.seed) if self.parent else None

    @property
    def built_shape(self) -> Shape:
        """Return the shape of the built model: its ancestor's if it has one."""
        return self.ancestor.built_shape if self.ancestor else self.shape

    @property
    def digest(self) -> str:
        """Return a hash of everything that determines the model, the parent's recipe included. It names the cached model."""
        ancestry = self.ancestor.digest if self.ancestor else ""
        content = json.dumps([CODE_VERSION, ancestry, asdict(self)], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=6).hexdigest()


RECIPES = {
    recipe.name: recipe
    for recipe in [
        Recipe(name="plain", jargon=0.06, slip_plain=0.15, slip_jargon=0.15, steps=600, lr=3e-3),
        # A senior that prefers a shorthand which is rare in the training data of its junior, `plain`.
        Recipe(name="jargon", parent="plain", jargon=0.75, slip_plain=0.18, slip_jargon=0.07, steps=450, lr=2e-3),
        # The same preference, but the senior is equally accurate in both dialects: right in 0.638 of its jargon and in 0.625 of
        # its longer plain texts (mean of eight seeds, 2,000 texts each), with equal slips in 0.69 and 0.63.
        Recipe(name="equal_dialects", parent="plain", jargon=0.75, slip_plain=0.12, slip_jargon=0.145, steps=1000, lr=2e-3),
        # A junior of a fraction of the size: what it drafts for a senior may save time.
        Recipe(name="plain_small", jargon=0.06, slip_plain=0.15, slip_jargon=0.15, steps=600, lr=3e-3, shape=SMALL),
    ]
}
"""The recipes that `model.recipe` may name."""
