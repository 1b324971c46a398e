"""The objective."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.setting import KeysOf, setting

CONTROLS = ("grpo", "kl_reg", "grpo_g16")
"""The arms of the paper's comparison in which the senior writes alone."""


@dataclass
class AlgoConfig:
    """The objective (GRPO as in arXiv 2606.28166)."""

    arm: str = setting("tandem", choices=("tandem", *CONTROLS))
    """which arm of the paper's comparison the run is, set by `algo=NAME`: `tandem`, or one of its controls `grpo`, `kl_reg` and
    `grpo_g16`, in which the senior writes alone"""
    advantage: str = setting("grpo", choices=KeysOf("tandem.advantage:ESTIMATORS"))
    """rewards within their group: `grpo` (standardised), `dr_grpo` (less the mean), `rloo` (less the mean of the others) or
    `reinforce++` (less the mean, over the whole step's standard deviation)"""
    policy_loss: str = setting("clip", choices=KeysOf("tandem.loss:POLICY_LOSSES"))
    """`clip` (GRPO's clipped surrogate), `gspo` (the same with one importance ratio a rollout) or `cispo` (the clipped ratio
    weighs the gradient and never stops it)"""
    aggregation: str = setting("token", choices=KeysOf("tandem.aggregation:AGGREGATIONS"))
    """what a mini-batch's loss is the mean over: its tokens (`token`), its rollouts' own means (`sequence`), all tokens of the
    step alike (`global_token`, DAPO's) or rollouts of the greatest length (`constant`, Dr. GRPO's)"""
    clip_low: float = setting(0.2, at_least=0, at_most=1)
    """the importance ratio is clipped to at least 1 - clip_low"""
    clip_high: float = setting(0.2, at_least=0)
    """and to at most 1 + clip_high"""
    mini_batches: int = setting(2, at_least=1)
    """optimizer steps per training step; with one, the clip never acts"""
    old_logprobs: str = setting("rollout", choices=("rollout", "learner"))
    """the ratio's denominator: `rollout` (the engine's behaviour log-probabilities) or `learner` (recomputed before the
    update)"""
    junior_token_loss_weight: float = setting(0.0, at_least=0)
    """weight of junior-written tokens in the policy loss; senior-written ones have 1"""
    lambda_junior: float = setting(0.0, at_least=0)
    """coefficient of the Kullback-Leibler term that draws the senior towards the junior at junior-written tokens"""
    kl_coef: float = setting(0.0, at_least=0)
    """coefficient of the Kullback-Leibler term that draws the senior towards its base model at senior-written tokens; above 0,
    the learner keeps a frozen copy of that model"""
    kl_estimator: str = setting("k3", choices=KeysOf("tandem.loss:KL_ESTIMATORS"))
    """how that term is estimated: `k1`, `k2` or `k3` (see `tandem.loss`)"""
    dynamic_sampling_rounds: int = setting(0, at_least=0)
    """how many times a step asks for other groups in place of those whose rewards are all equal"""
    mismatch: str = setting("none", choices=KeysOf("tandem.loss:CORRECTIONS", also=("none",)))
    """correction where engine and learner disagree, for old_logprobs=learner: `none`, `tis` (the ratio between them, truncated
    at mismatch_high), `icepop` (the ratio within [mismatch_low, mismatch_high], else the token is left out) or `sequence_mask`
    (a rollout whose mean ratio is outside is left out)"""
    mismatch_low: float = setting(0.5, at_least=0, at_most=1)
    """the least ratio between learner and engine that a correction lets pass"""
    mismatch_high: float = setting(2.0, at_least=1)
    """the greatest such ratio"""
