"""Evaluation while training goes on, on the run's own engines."""

from __future__ import annotations

from launch.evaluating.examination import Examination
from launch.running.parts import Parts


def due(parts: Parts, step: int) -> bool:
    """Whether the senior is evaluated after `step`: before training, every `eval.every` steps and after the last."""
    every = parts.config.eval.every
    return step in (0, parts.config.steps) or bool(every and step % every == 0)


def evaluate(parts: Parts, step: int) -> dict[str, float]:
    """Metrics of the senior on the held-out problems; the engines must have version `step`."""
    examination = Examination(
        parts.config,
        parts.authors,
        parts.rollouts,
        parts.judge,
        parts.held_out,
        version=step,
        tag=f"eval{step}",
        doing=parts.console.doing,
        say=parts.console.say,
    )
    scores = examination.scores()
    parts.folder.keep_samples(step, examination.solo, parts.authors.tokenizer, held_out=True)
    return {name: score.value for name, score in scores.items()} | {"solo/problems": len(parts.held_out)}
