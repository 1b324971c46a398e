"""The typed configuration: what Hydra's YAML is checked against, as a whole, before any engine starts.

Every field is documented here, once; conf/ only sets values. `tandem.config.load` makes a `Config` of what Hydra composed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tandem.config.algo import AlgoConfig
from tandem.config.data import DataConfig
from tandem.config.evaluation import EvalConfig
from tandem.config.learner import LearnerConfig
from tandem.config.model import DTYPES, ModelConfig
from tandem.config.reward import JudgeConfig, RewardConfig
from tandem.config.rollout import RolloutConfig, ScheduleConfig
from tandem.config.run import CheckpointConfig, ClusterConfig, GuardConfig, LogConfig, ModeConfig, StopConfig
from tandem.config.serve import ServeConfig
from tandem.config.setting import section, setting, settings

SELF = "self"
"""The junior that is a frozen copy of the senior's base model."""
FAKE, FAKE_LONGEST = "fake", "fake_longest"
"""What `learner_only` may name besides a run folder: random rollouts."""


class ConfigError(ValueError):
    """The configuration or the input data cannot be used; the message names the key, the value and the remedy."""


@dataclass
class Config:
    """One training run."""

    name: str = setting("", on_resume="change")
    """the run folder's name; empty: from the date and time"""
    resume: str = setting("", on_resume="change", path=True)
    """`auto` resumes the run `name` after its newest intact checkpoint, or starts it; a run folder resumes that run in the same
    way, a folder in its checkpoints/ resumes after that checkpoint; empty: a new run"""
    # vLLM multiplies the seed by a thousand and more for numpy, which takes 32 bits.
    seed: int = setting(1, at_least=0, at_most=4_000_000, on_resume="keep")
    """seed of the problems' order, the schedules and the engines' sampling"""
    steps: int = setting(60, at_least=1, on_resume="change")
    """training steps, each with rollout.prompts_per_step groups"""
    plan_only: bool = setting(False, on_resume="change")
    """print the placement of engines and ranks, and exit"""
    rollouts_only: bool = setting(False, on_resume="change")
    """start no learner: generate, judge and save the rollouts of all steps with the base model; see docs/debugging.md"""
    learner_only: str = setting("", on_resume="change", path=True)
    """start no engines, and learn from the rollouts in a run folder (saved with rollouts_only or log.rollouts), or from random
    ones to measure memory: `fake` draws their lengths, `fake_longest` gives all the greatest length"""
    profile: bool = setting(False, on_resume="change")
    """trace all processes during one step, on one timeline: trace.json.gz in the run folder"""
    profile_step: int = setting(2, at_least=1, on_resume="change")
    """the step to trace"""
    cache_dir: str = setting("~/.cache/tandem", on_resume="change", path=True)
    """folder of built base models and other files that outlive a run"""
    senior: str = setting("", path=True)
    """the model that launch/evaluate.py measures, launch/serve.py serves and launch/write.py writes with: a run folder (its
    best senior with `eval.select`, else its final one), a Hugging Face directory or a hub id; empty: the base model. Training
    starts from `model`"""
    role: str = setting("junior", choices=("junior", "senior"), on_resume="change")
    """the author that the person at launch/write.py stands in for; the model is the other one"""
    speculative: int = setting(0, at_least=0, at_most=32)
    """tokens that the junior drafts at a time for the senior of launch/serve.py, which then writes alone; 0: none"""
    junior: list[str] = setting([SELF], on_resume="keep", path=True)
    """the frozen juniors, of any size: Hugging Face directories, hub ids, `zoo:RECIPE`, or `self` for the senior's base model;
    each rollout draws one. All need the senior's tokenizer unless junior_translation is set. For launch/evaluate.py also
    `openai:URL,MODEL`, a model behind an OpenAI-compatible API; see docs/evaluation.md"""
    junior_weights: list[float] = setting([], above=0, on_resume="keep")
    """relative frequency of each junior; empty: equal frequencies"""
    junior_dtypes: list[str] = setting([], choices=DTYPES)
    """the dtype of each junior's engine; empty: model.dtype for all"""
    junior_translation: bool = setting(False, on_resume="keep")
    """whether a junior may have another tokenizer; its text is then translated, which is slower: word by word, or step by step
    under `schedule=step`"""
    mode: ModeConfig = section(ModeConfig, on_resume="change")
    cluster: ClusterConfig = section(ClusterConfig, on_resume="change")
    model: ModelConfig = section(ModelConfig, on_resume="keep")
    data: DataConfig = section(DataConfig, on_resume="keep")
    schedule: ScheduleConfig = section(ScheduleConfig)
    rollout: RolloutConfig = section(RolloutConfig)
    judge: JudgeConfig = section(JudgeConfig)
    reward: RewardConfig = section(RewardConfig)
    algo: AlgoConfig = section(AlgoConfig)
    learner: LearnerConfig = section(LearnerConfig)
    eval: EvalConfig = section(EvalConfig, on_resume="change")
    guard: GuardConfig = section(GuardConfig, on_resume="change")
    stop: StopConfig = section(StopConfig, on_resume="change")
    checkpoint: CheckpointConfig = section(CheckpointConfig, on_resume="change")
    log: LogConfig = section(LogConfig, on_resume="change")
    serve: ServeConfig = section(ServeConfig, on_resume="change")

    @property
    def cache_path(self) -> Path:
        """Return `cache_dir` as a path that does not depend on the working directory."""
        return Path(self.cache_dir).resolve()

    @property
    def longest_text(self) -> int:
        """Return the context that an engine needs, in tokens: the longest prompt, the longest response, and one token more."""
        return self.data.max_prompt_tokens + max(self.rollout.sampling.max_tokens, self.eval.sampling.max_tokens) + 1

    @property
    def has_random_rollouts(self) -> bool:
        """Whether the learner learns from random rollouts."""
        return self.learner_only in (FAKE, FAKE_LONGEST)


SETTINGS = settings(Config)
"""Every setting by its dotted key."""
