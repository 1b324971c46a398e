"""Learner ranks for tests, with a tiny configuration, and groups whose log-probabilities are near the model's."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from learner.group import LearnerGroup
from learner.rank import RankSpec
from tandem.config.learner import LearnerConfig
from tandem.config.schema import Config
from tandem.rollout import Group
from tests.support.probe_rank import ProbeRank
from tests.support.random_groups import random_groups

VOCABULARY, TOKENS, TEMPERATURE = 200, 199, 0.6
GROUPS: dict[str, Any] = {"groups": 4, "size": 4, "vocabulary": TOKENS}


class Ranks:
    """A process group of probe ranks."""

    def __init__(self, count: int, folder: Path) -> None:
        specs = [RankSpec(r, count, "", folder / f"{count}.weights") for r in range(count)]
        actor = ray.remote(ProbeRank).options(num_cpus=0)
        self.actors = [actor.remote(Config(), spec) for spec in specs]

    def join(self) -> None:
        """Start and connect the ranks."""
        self("join", *ray.get(self.actors[0].rendezvous.remote()))

    def end(self) -> None:
        """End the ranks."""
        for actor in self.actors:
            ray.kill(actor)

    def __call__(self, method: str, *arguments: Any) -> Any:
        """Call `method` on all ranks; return the result of rank 0."""
        return ray.get([getattr(actor, method).remote(*arguments) for actor in self.actors], timeout=120)[0]


class WarmLearner(LearnerGroup):
    """The learner of a run on ranks that have started already, which saves the seconds of their imports."""

    def __init__(
        self,
        ranks: Ranks,
        config: Config,
        model_path: str,
        segment: Path,
        *,
        reference_path: str = "",
        saved: Path | None = None,
        **of_processes: Any,
    ) -> None:
        """Ignore settings of the ranks' processes, which run; those that `LearnerGroup` lacks raise `TypeError`."""
        signature(LearnerGroup).bind_partial(**of_processes)
        self._config, self._timeout_s = config, config.learner.timeout_s
        self._ranks, self._processes = ranks.actors, {}
        self._call("reload", config, model_path, saved, reference_path)

    def close(self) -> None:
        """Leave the ranks to other runs."""

    def kill(self) -> None:
        """Leave the ranks to other runs."""


def save_models(folder: Path) -> dict[str, str]:
    """Write a tiny random Qwen3 with tied embeddings and one without."""
    paths = {}
    for seed, name in enumerate(("tied", "untied")):
        torch.manual_seed(seed)
        paths[name] = str(folder / name)
        config = Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            intermediate_size=96,
            initializer_range=0.1,
            tie_word_embeddings=name == "tied",
        )
        Qwen3ForCausalLM(config).save_pretrained(paths[name])
        words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(TOKENS)}, unk_token="w0"))
        PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(paths[name])
    return paths


def tiny_config(**learner: Any) -> Config:
    """Return a configuration for the models of `save_models`."""
    config = Config(steps=10)
    config.rollout.sampling.temperature = TEMPERATURE
    # With a large eps AdamW's update is smooth in the gradient, so that rounding errors stay small.
    defaults: dict[str, Any] = {"micro_batch_tokens": 90, "logprob_chunk_tokens": 16, "eps": 1e-2, "lr": 1e-2}
    config.learner = LearnerConfig(**{"warmup_steps": 0} | defaults | learner)
    return config


def plain_logprobs(model: Any, prompt_ids: np.ndarray, token_ids: np.ndarray, temperature: float) -> Tensor:
    """Return the log-probabilities of completions by transformers, one unpadded rollout at a time."""
    ids = torch.from_numpy(np.concatenate([prompt_ids, token_ids])).long()
    logits = model(ids[None]).logits[0, len(prompt_ids) - 1 : -1].float() / temperature
    return torch.log_softmax(logits, -1).gather(1, ids[len(prompt_ids) :, None]).squeeze(1)


def reference_loss(model: Any, groups: Sequence[Group]) -> Tensor:
    """Return the loss written out over single rollouts in plain transformers."""
    total, tokens = torch.zeros(()), 0
    for group in groups:
        for rollout, advantage in zip(group.rollouts, group.advantages.tolist(), strict=True):
            logprobs = plain_logprobs(model, rollout.prompt_ids, rollout.token_ids, TEMPERATURE)
            ratio = torch.exp(logprobs - torch.from_numpy(rollout.logprobs))
            surrogate = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
            total = total - surrogate[torch.from_numpy(rollout.authorship == 1)].sum()
            tokens += int(rollout.authorship.sum())
    return total / tokens


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray], rtol: float) -> None:
    """Check that every tensor is within a relative `rtol`, in the Euclidean norm."""
    assert got.keys() == expected.keys()
    for name, want in expected.items():
        assert np.linalg.norm(got[name] - want) <= rtol * np.linalg.norm(want), name


def on_policy_groups(path: str, seed: int) -> list[Group]:
    """Return random groups whose log-probabilities differ from those of the model at `path` just enough for clipping.

    The model must not change: they are computed once.
    """
    groups: list[Group] = pickle.loads(_on_policy_groups(path, seed))
    return groups


@cache
def _on_policy_groups(path: str, seed: int) -> bytes:
    groups = random_groups(seed, **GROUPS)
    model = AutoModelForCausalLM.from_pretrained(path)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for rollout in (r for g in groups for r in g.rollouts):
            own = plain_logprobs(model, rollout.prompt_ids, rollout.token_ids, TEMPERATURE).numpy()
            rollout.logprobs = (own + rng.normal(0, 0.2, len(own))).astype(np.float32)
    return pickle.dumps(groups)
