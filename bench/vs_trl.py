"""Plain GRPO with TRL and with this project, and the extra cost of tandem: same model, problems and lengths, on the CPU.

    python -m bench.vs_trl --json

docs/learner.md explains the figures.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from actors.rollout_pool import RolloutPool
from bench.report import Figures, benchmark_parser, print_figures
from bench.vs_trl_task import TimedStep, TrainingTask, reward
from launch.cluster.environment import set_environment
from launch.cluster.local_cluster import ray_cluster
from launch.cluster.locks import SEGMENT, claimed_file
from launch.entry import configuration
from launch.text_tables import terminal_table
from learner.group import LearnerGroup
from tandem.advantage import assign_advantages
from tandem.authors import load_authors
from tandem.config.schema import Config
from tandem.data.prompts import encode
from tandem.records.run_record import LOGS
from tandem.runtime.restarts import RestartBudget
from tandem.runtime.segment import segment_folder
from tandem.schedule import schedule_at

ARMS = {"ours": "grpo", "tandem": "tandem"}
"""This project's trainings, and the `algo=NAME` of each."""


def ours(task: TrainingTask, arm: str) -> Config:
    """Return this project's configuration that corresponds to TRL's."""
    overrides = [
        "model=smollm2",
        f"algo={arm}",
        "mode.device=cpu",
        "data.template='{question}'",
        f"steps={task.steps}",
        f"seed={task.seed}",
        f"rollout.prompts_per_step={task.prompts_per_step}",
        f"rollout.group_size={task.group_size}",
        f"rollout.sampling.max_tokens={task.max_tokens}",
        f"rollout.sampling.temperature={task.temperature}",
        f"algo.clip_low={task.clip}",
        f"algo.clip_high={task.clip}",
        "algo.mini_batches=1",
        f"learner.lr={task.lr}",
        f"learner.betas=[{task.betas[0]},{task.betas[1]}]",
        f"learner.grad_clip={task.max_grad_norm}",
        "learner.warmup_steps=0",
    ]
    return configuration(overrides)


def with_trl(task: TrainingTask, folder: Path) -> list[TimedStep]:
    """Train on the task with TRL in a separate process; return its steps."""
    result = folder / "trl.json"
    subprocess.run(
        [sys.executable, "-m", "bench.trl_run", json.dumps(asdict(task)), str(result)], check=True, stdout=subprocess.DEVNULL
    )
    return [TimedStep(**step) for step in json.loads(result.read_text(encoding="utf-8"))]


def with_us(task: TrainingTask, arm: str, folder: Path) -> list[TimedStep]:
    """Train on the task with this project's actors and learner; return its steps."""
    config = ours(task, arm)
    authors = load_authors(config)
    steps = []
    with (
        ray_cluster(logs=folder / LOGS),
        claimed_file(segment_folder(), SEGMENT) as segment,
        LearnerGroup(config, str(authors.senior), segment) as learner,
        RolloutPool.of_engines(config, authors, RestartBudget.of(config.guard)) as pool,
    ):
        for step in range(1, task.steps + 1):
            start = time.perf_counter()
            prompts, _ = encode(task.batch(step - 1), authors.tokenizer, config.data)
            groups = pool.generate(prompts, task.group_size, schedule_at(config, step), config.rollout.sampling, f"{arm}{step}")
            for group in groups:
                scores = [reward(rollout.text, group.prompt.problem.answer) for rollout in group.rollouts]
                group.rewards = np.array(scores, np.float32)
            written = time.perf_counter()
            assign_advantages(groups, config.algo.advantage)
            learner.update(groups, step)
            pool.finish_weight_sync(learner.publish(version=step))
            steps.append(
                TimedStep(
                    generate_s=written - start,
                    update_s=time.perf_counter() - written,
                    tokens=sum(len(rollout) for group in groups for rollout in group.rollouts),
                    reward=float(np.mean([group.rewards for group in groups])),
                )
            )
    return steps


def figures(runs: Mapping[str, Sequence[TimedStep]]) -> Figures:
    """Return medians over all steps but the first, which is a warm-up, and their ratios."""
    results: Figures = {}
    for name, steps in runs.items():
        timed = steps[1:]
        results |= {
            f"{name}_steps_per_min": round(60 / median(step.seconds for step in timed), 3),
            f"{name}_generate_tokens_per_s": round(median(step.tokens / step.generate_s for step in timed), 1),
            f"{name}_update_tokens_per_s": round(median(step.tokens / step.update_s for step in timed), 1),
            f"{name}_tokens_per_step": round(median(step.tokens for step in timed), 1),
            f"{name}_reward_first": round(steps[0].reward, 3),
            f"{name}_reward_last": round(steps[-1].reward, 3),
        }

    def ratio(figure: str, over: str, under: str) -> float:
        return round(float(results[f"{over}_{figure}"]) / float(results[f"{under}_{figure}"]), 3)

    return results | {
        "steps_per_min_over_trl": ratio("steps_per_min", "ours", "trl"),
        "generate_over_trl": ratio("generate_tokens_per_s", "ours", "trl"),
        "update_over_trl": ratio("update_tokens_per_s", "ours", "trl"),
        "tandem_over_solo_steps": ratio("steps_per_min", "tandem", "ours"),
    }


def table(runs: Mapping[str, Sequence[TimedStep]]) -> Table:
    """Return a table of every step of every training."""
    rows = (
        [name, str(number), f"{step.generate_s:.1f}", f"{step.update_s:.1f}", f"{step.tokens:.0f}", f"{step.reward:.3f}"]
        for name, steps in runs.items()
        for number, step in enumerate(steps, 1)
    )
    return terminal_table(("training", "step", "generate s", "update s", "tokens", "reward"), rows, left=1)


def main() -> None:
    """Measure as the command line specifies, and print the figures."""
    parser = benchmark_parser("vs_trl", __doc__)
    parser.add_argument("--steps", type=int, default=2, help="of each training; the first warms up (default: %(default)s)")
    parser.add_argument("--prompts", type=int, default=4, help="in a step, eight rollouts each (default: %(default)s)")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error("--steps: the first only warms up; give at least 2")
    console = Console()
    config = ours(TrainingTask(model="", steps=options.steps), "grpo")
    set_environment(config.cache_path)
    task = TrainingTask(str(load_authors(config).senior), options.steps, options.prompts)
    with tempfile.TemporaryDirectory() as folder:
        runs = {"trl": with_trl(task, Path(folder))}
        runs |= {name: with_us(task, arm, Path(folder)) for name, arm in ARMS.items()}
    console.print(table(runs))
    results: Figures = {"steps": task.steps, "rollouts_per_step": task.rollouts, "max_tokens": task.max_tokens}
    print_figures(results | figures(runs), console, as_json=options.json)


if __name__ == "__main__":
    main()
