"""Rollouts: the schedule, the sampling and the engines that write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tandem.config.setting import MAX_PROCESSES, MAX_WAIT_S, section, setting, wait

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 2
"""The temperatures of vLLM, besides 0, which is greedy."""


@dataclass
class ScheduleConfig:
    """Which author writes when."""

    name: str = setting("word", choices=("word", "token", "step", "chunk", "alternate", "solo"))
    """`word` (redraw where a word begins), `token` (after every token), `step` (at a paragraph break), `chunk` (every
    chunk_tokens tokens), `alternate` (pass the pen where a word begins) or `solo` (the senior writes everything: vanilla
    GRPO)"""
    prob_senior: float = setting(0.5, at_least=0, at_most=1)
    """the probability that a redraw gives the pen to the senior"""
    prob_senior_end: float = setting(0.5, at_least=0, at_most=1)
    """the probability that a redraw gives the pen to the senior at the last step, unless `anneal` is constant"""
    anneal: str = setting("constant", choices=("constant", "linear", "cosine"))
    """how prob_senior changes over the run: `constant`, `linear` or `cosine`"""
    max_gap_tokens: int = setting(32, at_least=1)
    """largest number of tokens between two redraws; word and alternate"""
    chunk_tokens: int = setting(8, at_least=1)
    """tokens between two redraws; chunk"""
    alternates: bool = False
    """whether a redraw passes the pen instead of drawing the author, beginning with the senior; step and chunk"""

    @property
    def label(self) -> str:
        """Return a short name: the schedule's name and the settings that are not the defaults."""
        defaults = ScheduleConfig(name=self.name)
        parts = [self.name]
        if self.alternates:
            parts.append("alternating")
        for key in ("prob_senior", "max_gap_tokens", "chunk_tokens"):
            if getattr(self, key) != getattr(defaults, key):
                parts.append(f"{key}={getattr(self, key):g}")
        return "_".join(parts)


@dataclass
class SamplingConfig:
    """How tokens are sampled from the models."""

    temperature: float = setting(1.0, at_least=0, at_most=MAX_TEMPERATURE)
    """the sampling temperature; 0 is greedy, for evaluation only"""
    max_tokens: int = setting(96, at_least=1)
    """token budget of a rollout, shared by its authors"""
    top_p: float = setting(1.0, at_least=0.001, at_most=1)
    """sample from the smallest set of tokens with this total probability; 1: all tokens. Below 1 for evaluation only"""
    top_k: int = setting(0, at_least=0)
    """sample from the top_k most likely tokens; 0: all tokens. Above 0 for evaluation only"""


@dataclass
class RolloutConfig:
    """The rollouts of a step, and the engines that write them."""

    prompts_per_step: int = setting(16, at_least=1, on_resume="keep")
    """groups per training step"""
    # A group of one has no other reward to compare with: its advantage is always zero.
    group_size: int = setting(8, at_least=2, on_resume="keep")
    """rollouts per prompt"""
    replicas: int = setting(1, at_least=1, at_most=MAX_PROCESSES, on_resume="change")
    """rollout actors, each with its own engines for the senior and every junior"""
    engines: str = setting("auto", choices=("auto", "pair", "shared"), on_resume="change")
    """`pair` (each author has an engine of its own), `shared` (one engine writes for the senior, with its adapter, and for the
    junior, without: junior=[self] and learner.lora.rank above 0) or `auto`: shared on the GPUs of one machine where that is
    possible, pair otherwise"""
    sampling: SamplingConfig = section(SamplingConfig)
    max_in_flight: int = setting(128, at_least=1, on_resume="change")
    """rollouts that one actor writes concurrently: the request slots of its engines (fewer if the KV caches hold fewer at the
    mean length of texts)"""
    kv_cache_gib: float = setting(0.25, above=0, on_resume="change")
    """KV cache of each engine on a CPU"""
    gpu_memory_fraction: float = setting(0.0, at_least=0, at_most=0.95, on_resume="change")
    """fraction of each of its GPUs that the senior's engine uses; 0: computed by the plan from the GPU's memory"""
    junior_gpu_memory_fraction: float = setting(0.0, at_least=0, at_most=0.95, on_resume="change")
    """fraction of each of its GPUs that a junior's engine uses; 0: computed by the plan, or gpu_memory_fraction if that is
    given; with mode=local give both"""
    senior_tensor_parallel: int = setting(1, at_least=1, on_resume="change")
    """GPUs that share the model of the senior's engine; above 1 only with mode=cluster"""
    junior_tensor_parallel: int = setting(1, at_least=1, on_resume="change")
    """GPUs that share the model of a junior's engine"""
    enforce_eager: bool | None = setting(None, on_resume="change")
    """skip compilation and CUDA graphs: faster to start, slower to generate; null: on CPUs only"""
    engine_args: dict[str, Any] = setting({}, on_resume="change")
    """further arguments of vLLM's engines, the senior's and every junior's, by name, such as `{kv_cache_dtype: fp8}`; see
    docs/gpu.md"""
    junior_engine_args: dict[str, Any] = setting({}, on_resume="change")
    """further arguments of the juniors' engines only, which replace those in `engine_args`"""
    sleep: bool = True
    """whether engines on the learner's GPU free its memory during an update; not with max_staleness above 0, when they generate
    meanwhile"""
    timeout_s: float = wait(1800.0, on_resume="change")
    """longest wait for the next finished group"""
    max_staleness: int = setting(0, at_least=0)
    """largest age, in steps, of the weights that a rollout was sampled from; 0: strictly on-policy; 1: the engines generate the
    next step's rollouts during an update, and rollouts in flight continue with the new weights"""
    straggler_deadline_s: float = setting(0.0, at_least=0, at_most=MAX_WAIT_S)
    """time after the start of a step after which it continues without its unfinished groups; 0: wait for all"""
