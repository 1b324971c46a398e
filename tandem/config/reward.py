"""Verdicts and rewards."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.setting import setting, wait


@dataclass
class JudgeConfig:
    """How answers are judged."""

    workers: int = setting(1, at_least=1, on_resume="change")
    """worker processes"""
    timeout_s: float = wait(5.0, on_resume="change")
    """deadline of one answer, from its dispatch; the worker is killed when it passes"""
    step_timeout_s: float = wait(600.0, on_resume="change")
    """deadline of all answers of a step"""
    # A worker starts within a tenth; the kernel's 64 bits hold far more than the greatest.
    memory_gib: float = setting(2.0, at_least=0.1, at_most=1_000_000, on_resume="change")
    """address space of one worker"""
    answer_pattern: str = ""
    """a regular expression whose first group is the final answer; empty: the last \\boxed{}, else the last statement such as
    "the answer is", `Final Answer:` or ####"""


@dataclass
class RewardConfig:
    """What a rollout's reward is the sum of (`tandem.rewards`). Each term's mean is logged as reward/terms/NAME."""

    correct: float = setting(1.0, at_least=0)
    """for a correct answer; a verifier that knows degrees gives shares of it"""
    format: float = setting(0.0, at_least=0)
    """for an answer that is marked as the task asks and can be read, right or wrong"""
    overlong_buffer_tokens: int = setting(0, at_least=0)
    """rollouts that end within so many tokens of their limit lose reward, up to overlong_penalty at the limit; 0: none do"""
    overlong_penalty: float = setting(1.0, at_least=0)
    """the reward that a rollout of the greatest length loses"""
