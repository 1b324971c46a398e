"""The evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.rollout import SamplingConfig, ScheduleConfig
from tandem.config.setting import section, setting

MEASURES = ("solo", "handoff", "junior_alone", "drift", "acceptance", "legibility", "takeover")
COMPARISONS = ("drift", "acceptance")
"""The names of the measures that compare both models' distributions."""
MODEL_MEASURES = (*COMPARISONS, "legibility")
"""The names of the measures that need models on disk. Neither engines nor learner hold both distributions."""


@dataclass
class EvalConfig:
    """The evaluation on held-out problems: by launch/evaluate.py, and before, during and after training."""

    measures: list[str] = setting(["solo"], choices=MEASURES)
    """`solo`, `handoff`, `junior_alone`, `takeover`, `drift`, `acceptance` and `legibility`: see docs/evaluation.md"""
    sets: list[str] = setting([])
    """benchmarks instead of the held-out problems of `data`, each a file of conf/data/ such as `aime24`; `aime24:PATH` reads a
    file or folder instead of the hub; only for launch/evaluate.py"""
    problems: int = setting(400, at_least=1)
    """largest number of held-out problems to evaluate, of each of `sets`"""
    every: int = setting(20, at_least=0)
    """training steps between evaluations; 0: only before and after training"""
    sampling: SamplingConfig = section(SamplingConfig)
    """the sampling of every evaluated text"""
    samples: int = setting(1, at_least=1)
    """texts per problem, solo, by the junior alone (`junior_alone`) and for each schedule of `handoff`"""
    pass_at: list[int] = setting([1], at_least=1)
    """each k of pass@k, at most `samples`"""
    select: str = ""
    """the measure by which a run keeps its best senior in best/, such as solo/accuracy or solo/pass@4; empty: only the last
    senior"""
    greedy: bool = False
    """whether to measure the accuracy of a single author under greedy decoding too"""
    handoff: list[ScheduleConfig] = setting([ScheduleConfig(name="step", alternates=True)])
    """the schedules under which senior and junior write for `handoff`; default: strict alternation at paragraph breaks"""
    prefixes: list[float] = setting([0.0, 0.25, 0.5, 0.75], at_least=0, below=1)
    """the fractions of the senior's solution that the junior continues for `takeover`"""
    scored_samples: int = setting(1, at_least=1)
    """solo texts per problem whose tokens `drift`, `acceptance` and `legibility` score, at most `samples`"""
    confidence: float = setting(0.95, at_least=0.5, at_most=0.999)
    """confidence level of the intervals"""
    resamples: int = setting(2000, at_least=100)
    """bootstrap samples of the problems for an interval"""
