"""Evaluation while training goes on, on the run's own engines."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from launch.evaluation.evaluator import Evaluator
from launch.evaluation.reading import READ, read_scores
from launch.run.training_run import TrainingRun
from tandem.measures.score import Score


def due(parts: TrainingRun, step: int) -> bool:
    """Whether the senior is evaluated after `step`: before training, every `eval.every` steps and after the last."""
    every = parts.config.eval.every
    return step in (0, parts.config.steps) or bool(every and step % every == 0)


def evaluate(parts: TrainingRun, step: int) -> dict[str, float]:
    """Metrics of the senior on the held-out problems; engines and learner must have version `step`."""
    began = time.perf_counter()
    examination = Evaluator(
        parts.config,
        parts.authors,
        parts.rollouts,
        parts.judge,
        parts.held_out,
        version=step,
        tag=f"eval{step}",
        progress=parts.console.progress,
        print_line=parts.console.print,
    )
    scores = examination.scores() | _read(parts, examination)
    parts.folder.keep_samples(step, examination.solo, parts.authors.tokenizer, held_out=True)
    found = {name: score.value for name, score in scores.items()}
    return found | {"solo/problems": len(parts.held_out), "time/evaluate_s": time.perf_counter() - began}


def _read(parts: TrainingRun, examination: Evaluator) -> dict[str, Score]:
    """The measures that need both models' distributions, of the learner's present weights: on the CPU, beside the engines."""
    measures = parts.config.eval.measures
    if not set(READ) & set(measures):
        return {}
    juniors = examination.junior_alone if "legibility" in measures else []
    with TemporaryDirectory() as folder:
        parts.learner.export(Path(folder))
        authors = replace(parts.authors, senior=Path(folder))
        scores, notes = read_scores(parts.config, authors, examination.solo, juniors, "cpu")
    for note in notes:
        parts.console.print(note)
    return scores
