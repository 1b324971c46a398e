"""What takes part in a run, and how it is started: learner, engines, judge, run folder, terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from actors.ahead import WritesAhead
from actors.in_turn import WritesInTurn
from actors.reward import RewardActor
from actors.rollout_pool import RolloutPool
from launch.console import TrainingConsole
from launch.local_cluster import gpu_share, ray_cluster
from launch.run_folder import RunFolder
from launch.writing import group_source
from learner.group import LearnerGroup
from tandem import guards
from tandem.authors import Authors, load_authors
from tandem.config import Config
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.rollout import JUNIOR, Prompt


@dataclass(frozen=True)
class Parts:
    """The parts of a run, all of them started."""

    config: Config
    authors: Authors
    folder: RunFolder
    console: TrainingConsole
    learner: LearnerGroup
    rollouts: RolloutPool
    writing: WritesAhead | WritesInTurn
    """has `rollouts` write the groups to train on"""
    judge: Any
    """the reward actor"""
    held_out: list[Prompt]
    """what the senior is evaluated on"""

    def log(self, row: Mapping[str, float]) -> None:
        """Keeps and shows one step's metrics."""
        self.folder.log(row)
        self.console.row(row)


@contextmanager
def started(config: Config) -> Iterator[Parts]:
    """Starts everything that a run takes, and ends it again.

    Raises `ConfigError` before anything is started when configuration or data cannot be used, and `GuardError` at the end when
    a frozen junior has changed.
    """
    gpus = gpu_share(config)
    folder, console = RunFolder(config), TrainingConsole(config.steps)
    authors = load_authors(config)
    problems = load_problems(config.data, config.seed, authors.tokenizer, authors.junior_tokenizers)
    held_out, _ = encode(problems.held_out(config.eval.problems), authors.tokenizer, config.data)
    problems.train.batch(0, config.rollout.prompts_per_step)  # so that too few problems are an error before anything starts

    with ExitStack() as stack:
        stack.enter_context(folder)
        console.say(f"run folder {folder.path}; senior {authors.senior}; {problems.dropped} problems dropped as too long")
        stack.enter_context(ray_cluster(logs=folder.path / "logs"))
        console.say(f"starting the learner ({config.learner.ranks} ranks, ZeRO-{config.learner.zero_stage}) ...")
        learner = stack.enter_context(LearnerGroup(config, str(authors.senior), authors.sentinel, gpus_per_rank=gpus))
        console.say(f"starting the engines of {config.rollout.replicas} rollout actors ...")
        rollouts = stack.enter_context(RolloutPool.of_engines(config, authors, gpus_per_replica=gpus))
        judge: Any = ray.remote(num_cpus=0)(RewardActor).remote(config.judge)
        stack.callback(ray.kill, judge)
        frozen = rollouts.checksums(JUNIOR)
        console.say(f"{sum(rollouts.admitted)} rollouts may be in flight")
        writing = group_source(config, rollouts, authors, problems)
        stack.enter_context(console)
        yield Parts(config, authors, folder, console, learner, rollouts, writing, judge, held_out)
        guards.check_unchanged(frozen, rollouts.checksums(JUNIOR))
