"""The log-probability of each saved token under the author that did not write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from tandem.authors import load_authors
from tandem.config.schema import ConfigError
from tandem.measures.distributions import cross_entropies
from tandem.measures.legibility import Pace
from tandem.measures.scoring import ScoringModel, Text, token_values
from tandem.records.run_record import CONFIG, FINAL_SENIOR, RunRecord, saved_config
from tandem.records.transcript import Transcript, rounded


def score_by_other_author(run: RunRecord) -> None:
    """Add `other_logprobs` to the turns of the run's rollouts, at their sampling temperatures.

    The rollout's junior scores the senior's tokens. The final senior scores the junior's, because earlier weights are not
    saved. A junior with another tokenizer scores nothing. Raises `ConfigError` when the run has exported no senior.
    """
    senior = run.path / FINAL_SENIOR
    if not senior.is_dir():
        raise ConfigError(f"{senior}: a score needs the final senior; wait for the run's end, or train with log.export=true")
    config = saved_config(run.path / CONFIG)
    authors, pace = load_authors(config), Pace(config.learner.micro_batch_tokens, config.learner.logprob_chunk_tokens)
    temperatures = {"training": config.rollout.sampling.temperature, "held_out": config.eval.sampling.temperature or 1.0}
    for which, temperature in temperatures.items():
        samples = [sample for sample in run.samples if sample["set"] == which]
        score_turns(samples, "junior", senior, temperature, pace)
        for index, junior in enumerate(authors.juniors):
            if not junior.translation:
                own_samples = [sample for sample in samples if sample["junior"] == index]
                score_turns(own_samples, "senior", junior.path, temperature, pace)


def score_turns(samples: Sequence[Transcript], author: str, model: Path, temperature: float, pace: Pace) -> None:
    """Add `other_logprobs` to the turns of `author`: the log-probabilities under the model in the folder `model`."""
    samples = [sample for sample in samples if any(turn["author"] == author for turn in sample["turns"])]
    if not samples:
        return

    def logprobs(targets: Tensor, *logits: Tensor) -> tuple[Tensor, ...]:
        return tuple(-cross_entropies(each / temperature, targets) for each in logits)

    texts = [
        Text(sample["prompt_ids"], [token for turn in sample["turns"] for token in turn["token_ids"]]) for sample in samples
    ]
    reader = ScoringModel(model, "float32", "cpu")
    scored = token_values(logprobs, [reader], texts, batch_tokens=pace.batch_tokens, chunk_tokens=pace.chunk_tokens)
    for sample, (values,) in zip(samples, scored, strict=True):
        at = 0
        for turn in sample["turns"]:
            stop = at + len(turn["token_ids"])
            if turn["author"] == author:
                turn["other_logprobs"] = rounded(values[at:stop].tolist())
            at = stop
