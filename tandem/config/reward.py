"""Verdicts and rewards."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.setting import setting, wait


@dataclass
class JudgeConfig:
    """How answers are judged."""

    workers: int = setting(0, at_least=0, on_resume="change")
    """worker processes; 0: as many as there are CPU cores"""
    timeout_s: float = wait(5.0, on_resume="change")
    """deadline of one answer, from its dispatch; after it the worker is killed"""
    step_timeout_s: float = wait(600.0, on_resume="change")
    """deadline for all answers of a step"""
    # A worker starts within a tenth; the kernel's 64 bits hold far more than the greatest.
    memory_gib: float = setting(2.0, at_least=0.1, at_most=1_000_000, on_resume="change")
    """address space of one worker"""
    answer_pattern: str = ""
    """a regular expression whose first group is the final answer; `boxed`: the last \\boxed{} alone; empty: the last \\boxed{},
    else the last statement such as "the answer is", `Final Answer:` or ####"""


@dataclass
class RewardConfig:
    """The terms of a rollout's reward, which is their sum (`tandem.rewards`). Each term's mean is logged as
    reward/terms/NAME."""

    correct: float = setting(1.0, at_least=0)
    """reward of a correct answer; a verifier with partial scores gives fractions of it"""
    format: float = setting(0.0, at_least=0)
    """reward of an answer that is marked as the task asks and can be parsed, right or wrong"""
    overlong_buffer_tokens: int = setting(0, at_least=0)
    """rollouts that end within this number of tokens of the limit lose reward, up to overlong_penalty at the limit; 0: no
    penalty"""
    overlong_penalty: float = setting(1.0, at_least=0)
    """the penalty of a rollout of the greatest length"""
