"""Base models: built or converted once and cached, or named by the user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tandem.config.model import ModelConfig
from tandem.config.schema import SELF, ConfigError
from tandem.models.zoo.cache import build_once
from tandem.models.zoo.hub import model_directory
from tandem.models.zoo.recipes import CODE_VERSION, RECIPES, ZOO, Recipe


def base_model(model: ModelConfig, cache: Path) -> Path:
    """Return the Hugging Face directory of the senior's base model: tokenizer, weights and configuration.

    A model that is built or converted is kept under `cache`. Raises `ConfigError` when the model is not available.
    """
    match model.source:
        case "zoo":
            return zoo_model(_recipe(f"model.recipe={model.recipe}", model.recipe, model.recipe_seed), cache)
        case "smollm2":
            from tandem.models.zoo.smollm2 import VERSION, convert_smollm2

            directory = cache / "zoo" / f"smollm2-{VERSION}-{CODE_VERSION}"
            return build_once(directory, convert_smollm2, "SmolLM2 ready to use (about 20 s)")
        case "hf":
            return model_directory(model.path)
    raise ConfigError(f"model.source={model.source}: choose zoo, smollm2 or hf")


def junior_model(name: str, senior: Path, key: str, cache: Path, recipe_seed: int = 1) -> Path:
    """Return the Hugging Face directory of the junior `name`: a directory, a hub id, `zoo:RECIPE`, or `self` for `senior`.

    `key` is the configuration key that holds the name. Raises `ConfigError` when the model is not available.
    """
    if name == SELF:
        return senior
    if name.startswith(ZOO):
        return zoo_model(_recipe(f"{key}={name}", name.removeprefix(ZOO), recipe_seed), cache)
    return model_directory(name, key)


def zoo_model(recipe: Recipe, cache: Path) -> Path:
    """Return the directory of the model of `recipe`. Pre-trains it, its parent first, unless it is cached."""

    def build(directory: Path) -> None:
        # Imported here, because a cached model does not need it.
        from tandem.models.zoo.pretrain import pretrain

        parent = zoo_model(recipe.ancestor, cache) if recipe.ancestor else None
        pretrain(recipe, parent, directory)

    return build_once(cache / "zoo" / f"{recipe.name}-{recipe.digest}", build, f"the base model {recipe.name!r}")


def _recipe(key: str, name: str, seed: int) -> Recipe:
    """Return the recipe `name` with `seed`. Raises `ConfigError`, naming `key`, when there is none."""
    if name not in RECIPES:
        raise ConfigError(f"{key}: the recipes are {', '.join(RECIPES)}")
    return replace(RECIPES[name], seed=seed)
