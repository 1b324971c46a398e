"""Check what is measured on held-out problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tandem.config.data import ENDLESS
from tandem.config.evaluation import MEASURES
from tandem.config.rollout import MIN_TEMPERATURE
from tandem.schedule import SCHEDULES

if TYPE_CHECKING:
    from tandem.config.evaluation import EvalConfig
    from tandem.config.schema import Config


def evaluation_errors(config: Config) -> Iterator[str]:
    """Yield the errors in the settings of the evaluation."""
    evaluation = config.eval
    if not evaluation.measures or len(set(evaluation.measures)) < len(evaluation.measures):
        yield f"eval.measures={evaluation.measures}: name each measure once, and at least one of {', '.join(MEASURES)}"
    if not evaluation.prefixes:
        yield "eval.prefixes=[]: give at least one fraction, as in [0.5]"
    if not evaluation.handoff:
        yield "eval.handoff=[]: name at least one schedule, as in '[{name: step, alternates: true}]'"
    names = [entry.partition(":")[0] for entry in evaluation.sets]
    if len(set(names)) < len(names):
        yield f"eval.sets={evaluation.sets}: name each set once"
    if names and config.data.source in ENDLESS and config.data.verifier:
        yield (
            f"data.verifier={config.data.verifier}: it judges the problems of data.source={config.data.source}, not those of "
            f"eval.sets={evaluation.sets}; set data.verifier= (empty), which judges by the final answer"
        )
    yield from _handoff_errors(evaluation)
    yield from _sample_errors(evaluation)


def _handoff_errors(evaluation: EvalConfig) -> Iterator[str]:
    for index, schedule in enumerate(evaluation.handoff):
        key = f"eval.handoff[{index}]"
        if schedule.name == "solo":
            yield f"{key}.name=solo: choose {' or '.join(name for name in SCHEDULES if name != 'solo')}"
        if schedule.anneal in ("linear", "cosine"):
            yield f"{key}.anneal={schedule.anneal}: an evaluation has no steps; choose constant"


def _sample_errors(evaluation: EvalConfig) -> Iterator[str]:
    samples = evaluation.samples
    if not evaluation.pass_at or max(evaluation.pass_at) > samples:
        yield f"eval.pass_at={evaluation.pass_at}: give numbers from 1 to eval.samples={samples}"
    if evaluation.scored_samples > samples:
        yield f"eval.scored_samples={evaluation.scored_samples}: there are only eval.samples={samples}; give fewer"
    if 0 < evaluation.sampling.temperature < MIN_TEMPERATURE:
        yield (f"eval.sampling.temperature={evaluation.sampling.temperature}: give 0 (greedy) or at least {MIN_TEMPERATURE}")
