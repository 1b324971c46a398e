"""The log-probability of each saved token under the author that did not write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from learner.policy import Policy
from tandem.authors import load_authors
from tandem.config.schema import ConfigError
from tandem.records.run_record import CONFIG, RunRecord, saved_config
from tandem.records.transcript import Transcript, rounded

ROLLOUTS = 16
"""Rollouts in one forward pass."""
CHUNK_TOKENS = 1024
"""Tokens whose logits are in memory at a time."""


def score_by_other_author(run: RunRecord) -> None:
    """Add `other_logprobs` to the turns of the run's rollouts, at their sampling temperatures.

    The rollout's junior scores the senior's tokens. The final senior scores the junior's, because earlier weights are not
    saved. A junior with another tokenizer scores nothing. Raises `ConfigError` when the run has exported no senior.
    """
    senior = run.path / "senior"
    if not senior.is_dir():
        raise ConfigError(f"{senior}: a score needs the final senior; wait for the run's end, or train with log.export=true")
    config = saved_config(run.path / CONFIG)
    authors = load_authors(config)
    temperatures = {"training": config.rollout.sampling.temperature, "held_out": config.eval.sampling.temperature or 1.0}
    for which, temperature in temperatures.items():
        samples = [sample for sample in run.samples if sample["set"] == which]
        _score_turns(samples, "junior", senior, temperature)
        for index, junior in enumerate(authors.juniors):
            if not junior.translation:
                own_samples = [sample for sample in samples if sample["junior"] == index]
                _score_turns(own_samples, "senior", junior.path, temperature)


def _score_turns(samples: Sequence[Transcript], author: str, model: Path, temperature: float) -> None:
    """Score the turns of `author` by the model in the folder `model`."""
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
    """Return the log-probability under `policy` of every token of each rollout."""
    completions = [[token for turn in sample["turns"] for token in turn["token_ids"]] for sample in samples]
    texts = [torch.tensor([*sample["prompt_ids"], *written]) for sample, written in zip(samples, completions, strict=True)]
    padded = pad_sequence(texts, batch_first=True)
    # The logits at a position predict the next token.
    positions = torch.cat(
        [
            torch.arange(len(text) - len(written), len(text)) - 1 + row * padded.shape[1]
            for row, (text, written) in enumerate(zip(texts, completions, strict=True))
        ]
    )
    logprobs, _ = policy(padded, positions, padded.flatten()[positions + 1])
    return [part.tolist() for part in logprobs.split([len(written) for written in completions])]
