"""The evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.rollout import SamplingConfig, ScheduleConfig
from tandem.config.setting import section, setting

MEASURES = ("solo", "handoff", "drift", "legibility", "takeover")


@dataclass
class EvalConfig:
    """What is measured on held-out problems: by launch/evaluate.py, and before, during and after training."""

    measures: list[str] = setting(["solo"], choices=MEASURES)
    """`solo`, `handoff`, `takeover`, `drift` and `legibility`: see docs/evaluation.md"""
    problems: int = setting(400, at_least=1)
    """held-out problems that are evaluated, at most"""
    every: int = setting(20, at_least=0)
    """training steps between evaluations; 0: only before and after"""
    sampling: SamplingConfig = section(SamplingConfig)
    """how every measured text is drawn"""
    samples: int = setting(1, at_least=1)
    """texts that are drawn for a problem, solo and with each schedule of `handoff`"""
    pass_at: list[int] = setting([1], at_least=1)
    """the k of solo pass@k, none above `samples`"""
    greedy: bool = False
    """whether solo accuracy is measured under greedy decoding too"""
    handoff: list[ScheduleConfig] = setting([ScheduleConfig(name="step", alternates=True)])
    """the schedules that senior and junior write under for `handoff`: by default strict alternation at paragraph breaks"""
    prefixes: list[float] = setting([0.0, 0.25, 0.5, 0.75], at_least=0, below=1)
    """the fractions of the senior's solution that the junior is given for `takeover`"""
    scored_samples: int = setting(1, at_least=1)
    """solo texts for a problem, of `samples`, whose tokens `drift` and `legibility` score"""
    confidence: float = setting(0.95, at_least=0.5, at_most=0.999)
    """level of the intervals"""
    resamples: int = setting(2000, at_least=100)
    """bootstrap samples of the problems behind an interval"""
