"""Rollouts: the schedule, the sampling and the engines that write them."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.setting import MAX_WAIT_S, KeysOf, section, setting, wait

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 2
"""The temperatures of vLLM, besides 0, which is greedy."""


@dataclass
class ScheduleConfig:
    """Who writes when."""

    name: str = setting("word", choices=KeysOf("tandem.schedule:SCHEDULES"))
    """`word` (redraw where a word begins), `token` (after every token), `step` (at a paragraph break), `chunk` (every
    chunk_tokens tokens), `alternate` (pass the pen where a word begins) or `solo` (the senior writes all: vanilla GRPO)"""
    prob_senior: float = setting(0.5, at_least=0, at_most=1)
    """the chance that a redraw gives the pen to the senior"""
    prob_senior_end: float = setting(0.5, at_least=0, at_most=1)
    """that chance at the last step, if `anneal` is not constant"""
    anneal: str = setting("constant", choices=("constant", "linear", "cosine"))
    """how prob_senior changes over the run: `constant`, `linear` or `cosine`"""
    max_gap_tokens: int = setting(32, at_least=1)
    """at most this many tokens between two redraws; word and alternate"""
    chunk_tokens: int = setting(8, at_least=1)
    """tokens between two redraws; chunk"""
    alternates: bool = False
    """whether a redraw passes the pen, the senior beginning, instead of tossing a coin; step and chunk"""


@dataclass
class SamplingConfig:
    """How tokens are drawn from the models."""

    temperature: float = setting(1.0, at_least=0, at_most=MAX_TEMPERATURE)
    """0 is greedy, which only evaluation may use"""
    max_tokens: int = setting(96, at_least=1)
    """the shared token budget of one rollout"""
    top_p: float = setting(1.0, at_least=0.001, at_most=1)
    """draw from the fewest tokens that have this probability together; 1: from all. Only evaluation may leave tokens out"""
    top_k: int = setting(0, at_least=0)
    """draw from so many of the likeliest tokens; 0: from all"""


@dataclass
class RolloutConfig:
    """The rollouts of one step."""

    prompts_per_step: int = setting(16, at_least=1, on_resume="keep")
    """groups that a step learns from"""
    # A group of one has no other reward to compare with: its advantage is always zero.
    group_size: int = setting(8, at_least=2, on_resume="keep")
    """rollouts per prompt"""
    replicas: int = setting(1, at_least=1, on_resume="change")
    """rollout actors, each with engines of its own: the senior's and every junior's"""
    sampling: SamplingConfig = section(SamplingConfig)
    max_in_flight: int = setting(128, at_least=1, on_resume="change")
    """rollouts that one actor writes at a time: the request slots of its engines (fewer where the KV caches hold fewer)"""
    kv_cache_gib: float = setting(0.25, above=0, on_resume="change")
    """KV cache of each engine on CPU"""
    gpu_memory_fraction: float = setting(0.0, at_least=0, at_most=0.95, on_resume="change")
    """share of each of its GPUs that the senior's engine takes; 0: as the plan finds, from the card's memory"""
    junior_gpu_memory_fraction: float = setting(0.0, at_least=0, at_most=0.95, on_resume="change")
    """that of a junior's engine; 0: as the plan finds, or gpu_memory_fraction if that is given; with mode=local give both"""
    senior_tensor_parallel: int = setting(1, at_least=1, on_resume="change")
    """GPUs over which the senior's engine spreads its model; above 1 only with mode=cluster"""
    junior_tensor_parallel: int = setting(1, at_least=1, on_resume="change")
    """those of a junior's engine"""
    enforce_eager: bool = setting(True, on_resume="change")
    """skip compilation and CUDA graphs: quick to start, slower to write"""
    sleep: bool = True
    """where engines share the learner's GPU, they give its memory back while it learns; not with max_staleness above 0, when
    they write meanwhile"""
    timeout_s: float = wait(1800.0, on_resume="change")
    """longest wait for the next group to finish"""
    max_staleness: int = setting(0, at_least=0)
    """how many steps old the weights may be that a rollout was sampled from: 0 is strictly on-policy; with 1 the engines write
    the next step's rollouts while the learner learns, and rollouts in flight go on with the new weights"""
    straggler_deadline_s: float = setting(0.0, at_least=0, at_most=MAX_WAIT_S)
    """training goes on without the groups that are unfinished so long after the step began; 0 waits for all"""
