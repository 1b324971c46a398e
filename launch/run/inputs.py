"""What a run begins with: models, problems and checkpoint, all read and checked before any process starts."""

from __future__ import annotations

from dataclasses import dataclass

from actors.engine_args import check_engine_args
from launch.cluster.locks import SEGMENT, remove_abandoned
from launch.cluster.plan import run_plan
from launch.evaluation.training_measures import check_measures
from launch.storage.checkpoints import Checkpoint
from launch.storage.resume import find_resumption
from launch.storage.run_folder import RunFolder
from tandem.authors import Authors, check_excluded, load_authors
from tandem.config.schema import Config
from tandem.data.problems import ProblemSet, load_with_held_out
from tandem.plan.memory import BYTES
from tandem.plan.run_plan import RunPlan, planned
from tandem.plan.sizes import model_sizes
from tandem.rollout import Prompt
from tandem.runtime.segment import check_segment_room, segment_folder
from tandem.runtime.weights import SHM


@dataclass(frozen=True)
class Inputs:
    """The checked inputs of a run."""

    config: Config
    plan: RunPlan
    """where engines and learner go"""
    transport: str
    """how weights reach the engines"""
    authors: Authors
    problems: ProblemSet
    held_out: list[Prompt]
    """what the senior is evaluated on"""
    folder: RunFolder
    checkpoint: Checkpoint | None
    """the checkpoint to resume from; None: start from the base"""
    warnings: tuple[str, ...]


def read_inputs(config: Config) -> Inputs:
    """Return the inputs of the run that `config` describes, on this machine or in the connected Ray cluster.

    Raises `ConfigError` for anything that cannot be used.
    """
    check_engine_args(config.rollout)
    plan = run_plan(config)
    config = planned(config, plan)
    check_measures(config)
    resumption = find_resumption(config)
    transport = plan.transport(config)
    folder, authors = RunFolder(config, resumption), load_authors(config)
    problems, held_out = load_with_held_out(config, authors)
    problems.train.batch(0, config.rollout.prompts_per_step)  # too few problems are an error now, not later
    if plan.on_gpus:
        check_excluded(config, authors)
    if transport == SHM and not config.rollouts_only:
        remove_abandoned(segment_folder(), SEGMENT)
        if config.learner.lora.sent_alone:
            check_segment_room(model_sizes(config).senior.adapter * BYTES["float32"])
        else:
            check_segment_room(authors.senior_parameters * BYTES[config.learner.dtype])
    checkpoint, warnings = resumption.checkpoint, resumption.warnings
    return Inputs(config, plan, transport, authors, problems, held_out, folder, checkpoint, warnings)
