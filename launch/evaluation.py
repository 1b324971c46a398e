"""What the senior can do by itself, measured on the run's own engines."""

from __future__ import annotations

from actors.reward import judge_groups
from launch.parts import Parts
from tandem import guards
from tandem.metrics import accuracy
from tandem.schedule import Schedule

SOLO = Schedule(prob_senior=1.0)


def due(parts: Parts, step: int) -> bool:
    """Whether the senior is evaluated after `step`: before training, every `eval.every` steps and after the last."""
    every = parts.config.eval.every
    return step in (0, parts.config.steps) or bool(every and step % every == 0)


def evaluate(parts: Parts, step: int) -> dict[str, float]:
    """Metrics of the senior alone on the held-out problems; the engines must have version `step`."""
    config, prompts = parts.config, parts.held_out
    with parts.console.doing("evaluating", len(prompts)) as done:
        groups = parts.rollouts.generate(prompts, 1, SOLO, config.eval.sampling, f"eval{step}", on_group=done)
    guards.check_weight_version(groups, expected=step)
    judge_groups(parts.judge, groups, config.judge.step_timeout_s)
    if warning := guards.check_verdicts(groups):
        parts.console.say(f"evaluation after step {step}: {warning}")
    return {"solo/accuracy": accuracy(groups)}
