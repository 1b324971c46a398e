"""One evaluation: start engines, take the measures of a senior, save them."""

from __future__ import annotations

import ray

from launch.cluster.local_cluster import given_cluster
from launch.cluster.plan import run_plan
from launch.evaluation.benchmarks import read_benchmarks
from launch.evaluation.evaluator import Evaluator
from launch.evaluation.folder import EvaluationFolder
from launch.evaluation.measured_run import senior_of
from launch.evaluation.model_measures import model_scores
from launch.evaluation.settings import check_evaluation
from launch.evaluation.workers import WorkerStarter, start_workers
from launch.run.console import EvaluationConsole
from launch.status import INPUTS, status
from launch.storage.disk import wait_for_room
from launch.storage.owner import owned
from tandem.authors import Authors, check_excluded, load_authors, with_senior
from tandem.config.black_box import black_box
from tandem.config.evaluation import MODEL_MEASURES
from tandem.config.schema import Config
from tandem.models.zoo.hub import model_directory
from tandem.plan.run_plan import planned
from tandem.rollout import BASE_VERSION


def evaluate(config: Config, start_workers: WorkerStarter = start_workers) -> None:
    """Take the measures in `config.eval` of the senior `config.senior`, or of the base model, and save them."""
    config = check_evaluation(config)
    if box := black_box(config):
        from actors.black_box import check_answers  # imports the client, which takes a second

        check_answers(box)
    with given_cluster():
        _evaluate(config, start_workers)


def _evaluate(config: Config, start_workers: WorkerStarter) -> None:
    """Take and save the measures on this machine, or in the connected Ray cluster."""
    plan = run_plan(config, learns=False)
    config, measures = planned(config, plan), config.eval.measures
    with status("Reading models and data", INPUTS):
        authors = measured_authors(config)
        if plan.on_gpus:
            check_excluded(config, authors)
        benchmarks = read_benchmarks(config, authors)
    prompts = benchmarks.prompts
    folder, console = EvaluationFolder(config), EvaluationConsole()

    with owned(folder.path, f"name={folder.path.name}"):
        console.print(
            f"{folder.path}: {', '.join(measures)} of {authors.senior} on {len(prompts)} problems; {benchmarks.left_out}"
        )
        with start_workers(config, authors, plan, folder.logs, console.print) as (pool, judge):
            evaluator = Evaluator(
                config,
                authors,
                pool,
                judge,
                prompts,
                version=BASE_VERSION,
                tag="evaluation",
                progress=console.progress,
                print_line=console.print,
            )
            scores = evaluator.scores()
            senior_texts = evaluator.solo if set(MODEL_MEASURES) & set(measures) else []
            junior_texts = evaluator.junior_alone if "legibility" in measures else []
    # The engines have ended and left their memory to the models.
    device = "cuda" if plan.on_gpus else "cpu"
    texts = (senior_texts, junior_texts)
    if senior_texts and plan.mode == "cluster" and plan.on_gpus:  # this process may have no GPU, and reserves none
        distribution_scores, notes = ray.get(ray.remote(num_gpus=1)(model_scores).remote(config, authors, *texts, device))
    else:
        distribution_scores, notes = model_scores(config, authors, *texts, device)
    scores |= distribution_scores
    console.print(folder.table(benchmarks, scores))

    def write() -> None:
        folder.write(authors, benchmarks, scores, evaluator.texts, notes, device)

    wait_for_room(write, folder.path, "the results", config.log.export_wait_s, console.print)
    for line in [*notes, f"written to {folder.path}"]:
        console.print(line)


def measured_authors(config: Config) -> Authors:
    """Return the senior to measure and its junior. Raises `ConfigError` when they are missing or cannot write one text."""
    authors = load_authors(config)
    if not config.senior:
        return authors
    return with_senior(authors, model_directory(senior_of(config.senior), "senior"), f"senior={config.senior}")
