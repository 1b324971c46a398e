"""How likely each kept token is under the author that did not write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn.utils.rnn import pad_sequence

from launch.storage.run_record import RunRecord
from launch.storage.transcript import Transcript, rounded
from learner.policy import Policy
from tandem.authors import load_authors
from tandem.config.load import typed
from tandem.config.schema import ConfigError

ROLLOUTS = 16
"""That pass through a model at a time."""
CHUNK_TOKENS = 1024
"""Tokens whose logits exist at a time."""


def score(run: RunRecord) -> None:
    """Adds `other_logprobs` to the turns of the run's rollouts, at the temperatures at which they were written.

    What the senior wrote is scored by the rollout's junior, what the junior wrote by the final senior: the weights of earlier
    steps are gone. A junior with another tokenizer scores nothing. Raises `ConfigError` when the run has exported no senior.
    """
    senior = run.path / "senior"
    if not senior.is_dir():
        raise ConfigError(f"{senior}: a score needs the final senior; wait for the run's end, or train with log.export=true")
    composed = OmegaConf.load(run.path / "config.yaml")
    assert isinstance(composed, DictConfig)
    config = typed(composed)
    authors = load_authors(config)
    temperatures = {"training": config.rollout.sampling.temperature, "held_out": config.eval.sampling.temperature or 1.0}
    for which, temperature in temperatures.items():
        samples = [sample for sample in run.samples if sample["set"] == which]
        _score_turns(samples, "junior", senior, temperature)
        for index, junior in enumerate(authors.juniors):
            if not junior.own:
                its = [sample for sample in samples if sample["junior"] == index]
                _score_turns(its, "senior", junior.path, temperature)


def _score_turns(samples: Sequence[Transcript], author: str, model: Path, temperature: float) -> None:
    """Scores what `author` wrote by the model at `model`."""
    samples = [sample for sample in samples if any(turn["author"] == author for turn in sample["turns"])]
    if not samples:
        return
    policy = Policy(str(model), dtype=torch.float32, temperature=temperature, chunk=CHUNK_TOKENS).eval()
    for start in range(0, len(samples), ROLLOUTS):
        batch = samples[start : start + ROLLOUTS]
        for sample, logprobs in zip(batch, completion_logprobs(policy, batch), strict=True):
            at = 0
            for turn in sample["turns"]:
                stop = at + len(turn["token_ids"])
                if turn["author"] == author:
                    turn["other_logprobs"] = rounded(logprobs[at:stop])
                at = stop


@torch.no_grad()
def completion_logprobs(policy: Policy, samples: Sequence[Transcript]) -> list[list[float]]:
    """The log-probability of every token of each rollout, whoever wrote it, under `policy`."""
    completions = [[token for turn in sample["turns"] for token in turn["token_ids"]] for sample in samples]
    texts = [torch.tensor([*sample["prompt_ids"], *written]) for sample, written in zip(samples, completions, strict=True)]
    padded = pad_sequence(texts, batch_first=True)
    # A token is predicted one position before it stands.
    positions = torch.cat(
        [
            torch.arange(len(text) - len(written), len(text)) - 1 + row * padded.shape[1]
            for row, (text, written) in enumerate(zip(texts, completions, strict=True))
        ]
    )
    logprobs, _ = policy(padded, positions, padded.flatten()[positions + 1])
    return [part.tolist() for part in logprobs.split([len(written) for written in completions])]
