"""Checks of the measures that a run takes during training."""

from __future__ import annotations

from launch.entry import check_own_settings
from tandem.config.evaluation import MODEL_MEASURES, EvalConfig
from tandem.config.schema import Config, ConfigError
from tandem.measures.names import correctness


def check_measures(config: Config) -> None:
    """Raise `ConfigError` for settings of an evaluation or of another program that a training run does not take."""
    for measure in sorted(set(MODEL_MEASURES) & set(config.eval.measures)):
        why = (
            "both models would be read on this process's CPU"
            if config.mode.name == "cluster"
            else f"there is one junior to compare with at a time, not the {len(config.junior)} of junior={config.junior}"
            if len(config.junior) > 1
            else ""
        )
        if why:
            raise ConfigError(
                f"eval.measures={config.eval.measures}: this run does not measure {measure}, for {why}; leave it out, and let "
                "launch/evaluate.py measure the senior afterwards"
            )
    check_selection(config.eval)
    if "solo" not in config.eval.measures:
        raise ConfigError(f"eval.measures={config.eval.measures}: training reports solo accuracy; name solo too")
    if config.eval.sets:
        raise ConfigError(f"eval.sets={config.eval.sets}: training evaluates held-out problems of data; leave it out")
    if config.senior:
        raise ConfigError(f"senior={config.senior}: training starts from model; only launch/evaluate.py takes a senior")
    check_own_settings(config, "launch/train.py")


def check_selection(evaluation: EvalConfig) -> None:
    """Raise `ConfigError` when the evaluations during training do not take the measure `select`."""
    teams = evaluation.handoff if "handoff" in evaluation.measures else []
    names = [
        f"{texts}/{kind}" for texts in ["solo", *(f"team/{each.label}" for each in teams)] for kind in correctness(evaluation)
    ]
    names += ["solo/greedy"] if evaluation.greedy else []
    if evaluation.select and evaluation.select not in names:
        raise ConfigError(
            f"eval.select={evaluation.select}: the run does not measure that; choose {' or '.join(names)}, or have it measured "
            "(eval.measures, eval.pass_at, eval.greedy)"
        )
