"""The run as a whole: where it runs, what stops it, what it can be resumed from and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.setting import setting, wait


@dataclass
class ModeConfig:
    """Where the run computes."""

    name: str = setting("auto", choices=("auto", "local", "cluster"))
    """`local` (everything on this machine, sharing its GPUs), `cluster` (separate GPUs for engines and learner, on the nodes of
    a Ray cluster) or `auto`: `cluster` in a job submitted to a Ray cluster with GPUs, else `local`"""
    device: str = setting("auto", choices=("auto", "cpu", "cuda"))
    """`auto` (a GPU if there is one, else the CPU), `cpu` or `cuda`"""
    cpu_cores: int = setting(0, at_least=0)
    """CPU cores to use; 0: all that this process may run on"""


@dataclass
class ClusterConfig:
    """The GPUs that a plan (`plan_only`) assumes instead of those of the machine."""

    gpus: int = setting(0, at_least=0)
    """number of GPUs; 0: the GPUs of the machine"""
    gpus_per_node: int = setting(8, at_least=1)
    """GPUs of a full node; the last node has the rest"""
    gpu_gib: float = setting(80.0, above=0)
    """memory of each GPU"""


@dataclass
class GuardConfig:
    """Limits at which a faulty run stops."""

    max_logprob_gap: float = setting(0.1, above=0)
    """largest mean |behavior - learner| log-probability, in nats, of senior tokens in rollouts of the current weights: those of
    the step's first mini-batch, before its optimizer step, or with algo.old_logprobs=learner all of them"""
    max_stale_logprob_gap: float = setting(0.5, above=0)
    """largest mean |behavior - learner| log-probability of senior tokens in rollouts that older weights wrote
    (rollout.max_staleness), in nats; this gap includes the updates since then"""
    max_canary_gap: float = setting(0.5, at_least=0)
    """largest mean |engine - learner| log-probability of a few prompts after a weight sync, in nats; a gap that grows with the
    update stops the run even below this limit; 0: nothing is compared"""
    max_skipped_updates: int = setting(8, at_least=0)
    """consecutive optimizer steps that may be skipped because a gradient is not finite, before the run stops; 0: no limit"""
    call_timeout_s: float = wait(600.0)
    """longest wait for a call that all replicas answer: to load weights, compute the canary or checksums, sleep or wake"""
    max_restarts_per_hour: int = setting(20, at_least=0)
    """restarts of failed actors within an hour, in total, before the run stops; 0: the first failure ends the run"""
    stall_s: float = wait(1800.0)
    """time without a finished step after which the run prints where each process is"""


@dataclass
class StopConfig:
    """The early end of a run whose metric no longer improves."""

    metric: str = ""
    """the metric of metrics.jsonl, such as solo/accuracy or reward/mean, whose lack of improvement ends the run; empty: none"""
    patience: int = setting(3, at_least=1)
    """values of the metric in a row without improvement after which the run ends"""
    min_improvement: float = setting(0.0, at_least=0)
    """how much better than the best value a value must be to count as an improvement"""
    minimize: bool = False
    """whether smaller values are better"""


@dataclass
class CheckpointConfig:
    """The checkpoints."""

    save_every: int = setting(20, at_least=0)
    """training steps between two checkpoints; the last step always has one; 0: no checkpoints"""
    keep_last: int = setting(2, at_least=0)
    """number of checkpoints to keep; older ones are removed once a new one is complete; 0: all"""
    export: bool = False
    """whether to write the senior as a Hugging Face directory with every checkpoint; these are never removed"""
    on_signal: bool = True
    """whether SIGTERM, by which schedulers stop a job, makes the run write a checkpoint of the last step before it ends; not if
    save_every is 0"""
    on_signal_wait_s: float = wait(25.0)
    """time after SIGTERM for the current update and this checkpoint, after which the run ends without it; by default Slurm and
    Kubernetes kill a job after 30 seconds"""


@dataclass
class LogConfig:
    """The run folder and what is written there."""

    dir: str = setting("runs", path=True)
    """the folder of the run folders; in a submitted job the working directory is a copy, and a relative path begins at the home
    directory of the driver's node: give a path on shared storage instead"""
    tensorboard: bool = True
    """whether to write the metrics for TensorBoard too"""
    wandb: str = ""
    """the Weights & Biases project that shows the run, which needs the package wandb; empty: none"""
    samples_per_step: int = setting(16, at_least=0)
    """rollouts saved with the author of every word, per step and per evaluation, in whole groups as far as possible"""
    print_samples: int = setting(0, at_least=0)
    """number of saved rollouts (samples_per_step) that each step prints in the terminal, with the authors in colors"""
    export: bool = True
    """whether to write the final senior as a Hugging Face directory"""
    export_wait_s: float = setting(600.0, at_least=0)
    """time for which the final senior and evaluation results wait for space on a full disk"""
    export_fallback: str = setting("", path=True)
    """the folder for the final senior if the run folder's disk stays full or fails; empty: `seniors` in cache_dir"""
    rollouts: bool = False
    """whether to save all rollouts that the steps learn from, for learner_only"""
