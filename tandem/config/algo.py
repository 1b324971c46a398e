"""The objective."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.setting import setting

# The choices stand here, and not where they are implemented, because importing torch takes seconds.
AGGREGATIONS = ("token", "response_token", "micro_batch", "sequence", "global_token", "constant")
MINI_BATCH_ORDERS = ("shuffled", "prompts")
CONTROLS = ("grpo", "kl_reg", "grpo_g16", "kl_junior")
"""The arms in which the senior writes alone: the paper's controls, and `kl_junior`."""


@dataclass
class AlgoConfig:
    """The objective (GRPO as in arXiv 2606.28166)."""

    arm: str = setting("tandem", choices=("tandem", *CONTROLS))
    """the arm of a comparison, set by `algo=NAME`: `tandem`, or one of the controls in which the senior writes alone: the
    paper's `grpo`, `kl_reg` and `grpo_g16`, and `kl_junior`"""
    advantage: str = setting("grpo", choices=("grpo", "dr_grpo", "rloo", "reinforce++"))
    """how rewards become advantages within their group: `grpo` (standardized), `dr_grpo` (minus the mean), `rloo` (minus the
    mean of the others) or `reinforce++` (minus the mean, divided by the whole step's standard deviation)"""
    policy_loss: str = setting("clip", choices=("clip", "gspo", "cispo"))
    """`clip` (GRPO's clipped surrogate), `gspo` (the same with one importance ratio per rollout) or `cispo` (the clipped ratio
    weights the gradient and never stops it)"""
    aggregation: str = setting("token", choices=AGGREGATIONS)
    """what the loss of a mini-batch is averaged over: the tokens that count (`token`), all tokens of its rollouts, the junior's
    too (`response_token`, as in the published code), the means of its micro-batches (`micro_batch`, as in its predecessor),
    the means of its rollouts (`sequence`), all tokens of the step equally (`global_token`, as in DAPO) or rollouts of the
    greatest length (`constant`, as in Dr. GRPO)"""
    clip_low: float = setting(0.2, at_least=0, at_most=1)
    """the importance ratio is clipped to at least 1 - clip_low"""
    clip_high: float = setting(0.2, at_least=0)
    """the importance ratio is clipped to at most 1 + clip_high"""
    dual_clip: float = setting(0.0, at_least=0)
    """where the advantage is negative, the importance ratio is also limited to this number, above 1 (dual-clip PPO); 0: no such
    limit"""
    mini_batches: int = setting(2, at_least=1)
    """optimizer steps per training step; with 1, the ratio is never clipped"""
    mini_batch_order: str = setting("shuffled", choices=MINI_BATCH_ORDERS)
    """how a step is divided into mini-batches: single rollouts, `shuffled`, or whole `prompts` in order, as in the published
    code"""
    old_logprobs: str = setting("rollout", choices=("rollout", "learner"))
    """the denominator of the importance ratio: `rollout` (the engine's behavior log-probabilities) or `learner` (recomputed
    before the update)"""
    junior_token_loss_weight: float = setting(0.0, at_least=0)
    """weight of junior tokens in the policy loss; senior tokens have 1"""
    lambda_junior: float = setting(0.0, at_least=0)
    """coefficient of the Kullback-Leibler term that draws the senior toward the junior at junior tokens"""
    kl_coef: float = setting(0.0, at_least=0)
    """coefficient of the Kullback-Leibler term that draws the senior toward `kl_reference` at senior tokens; above 0, the
    learner keeps a frozen copy of that model"""
    kl_reference: str = setting("base", choices=("base", "junior"))
    """the model of the Kullback-Leibler term of kl_coef: the senior's `base`, or its `junior`"""
    kl_estimator: str = setting("k3", choices=("k1", "k2", "k3", "k3_clamped"))
    """the estimator of the term of kl_coef: `k1`, `k2`, `k3` or `k3_clamped` (at most 10; see `tandem.loss`)"""
    dynamic_sampling_rounds: int = setting(0, at_least=0)
    """rounds per step in which groups whose rewards are all equal are replaced by new ones"""
    mismatch: str = setting("none", choices=("none", "tis", "icepop", "sequence_mask"))
    """correction of the mismatch between engine and learner, for old_logprobs=learner: `none`, `tis` (the ratio between them,
    truncated at mismatch_high), `icepop` (the ratio within [mismatch_low, mismatch_high], else the token is masked) or
    `sequence_mask` (a rollout whose mean ratio is outside is masked)"""
    mismatch_low: float = setting(0.5, at_least=0, at_most=1)
    """the least ratio between learner and engine that a correction keeps"""
    mismatch_high: float = setting(2.0, at_least=1)
    """the greatest ratio between learner and engine that a correction keeps"""
