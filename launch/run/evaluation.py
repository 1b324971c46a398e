"""Evaluation of the senior during training, on the run's engines."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from launch.evaluation.evaluator import Evaluator
from launch.evaluation.model_measures import model_scores
from launch.run.selection import keep_if_best
from launch.run.training_run import TrainingRun
from tandem.config.evaluation import MODEL_MEASURES
from tandem.config.schema import Config
from tandem.measures.names import ACCURACY, PROBLEM_COUNT
from tandem.measures.result_rows import problem_rows, text_rows
from tandem.measures.score import Score


def evaluation_due(config: Config, step: int) -> bool:
    """Whether the senior is evaluated after `step`: before training, every `eval.every` steps and after the last step."""
    every = config.eval.every
    return step in (0, config.steps) or bool(every and step % every == 0)


def evaluate_at_start(run: TrainingRun) -> None:
    """Evaluate the base model; in a resumed run, redo an evaluation or an export of the best senior that SIGTERM stopped."""
    step = run.resumed_step
    if step == 0:
        run.log({"step": 0, "weights/version": 0} | evaluate_senior(run, 0))
        return
    last_row = run.folder.rows[-1:]
    cut_short = any(row["step"] == step and ACCURACY not in row for row in last_row)
    if cut_short and evaluation_due(run.config, step):
        run.log({"step": step} | evaluate_senior(run, step))  # joins the row of `step`
    keep_if_best(run, step)  # in case SIGTERM came before this export


def evaluate_senior(run: TrainingRun, step: int) -> dict[str, float]:
    """Return metrics of the senior on the held-out problems. Engines and learner must have version `step`."""
    began = time.perf_counter()
    evaluator = Evaluator(
        run.config,
        run.authors,
        run.pool,
        run.judge,
        run.held_out,
        version=step,
        tag=f"eval{step}",
        progress=run.console.progress,
        print_line=run.console.print,
    )
    scores = evaluator.scores() | _model_scores(run, evaluator)
    run.folder.save_samples(step, evaluator.solo, run.authors.tokenizer, held_out=True)
    run.folder.save_evaluation(step, problem_rows(run.held_out, scores), text_rows(evaluator.texts))
    values = {name: score.value for name, score in scores.items()}
    return values | {PROBLEM_COUNT: len(run.held_out), "time/evaluate_s": time.perf_counter() - began}


def _model_scores(run: TrainingRun, evaluator: Evaluator) -> dict[str, Score]:
    """Return the measures that need both models' distributions, with the learner's present weights, computed on the CPU."""
    measures = run.config.eval.measures
    if not set(MODEL_MEASURES) & set(measures):
        return {}
    junior_texts = evaluator.junior_alone if "legibility" in measures else []
    with TemporaryDirectory() as folder:
        run.learner.export(Path(folder), whole=True)
        authors = replace(run.authors, senior=Path(folder))
        scores, notes = model_scores(run.config, authors, evaluator.solo, junior_texts, "cpu")
    for note in notes:
        run.console.print(note)
    return scores
