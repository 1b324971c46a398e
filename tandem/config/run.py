"""The run as a whole: where it runs, what stops it, what it can be resumed from and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.config.setting import setting, wait


@dataclass
class ModeConfig:
    """Where things run."""

    name: str = setting("auto", choices=("auto", "local", "cluster"))
    """`local` (everything on this machine, sharing its GPUs), `cluster` (engines and learner on GPUs of their own, over the
    nodes of a Ray cluster) or `auto`: cluster in a job submitted to a Ray cluster with GPUs, else local"""
    device: str = setting("auto", choices=("auto", "cpu", "cuda"))
    """`auto` (a GPU if there is one, else the CPU), `cpu` or `cuda`"""
    cpu_cores: int = setting(0, at_least=0)
    """CPU cores to use; 0 takes all that this process may run on"""


@dataclass
class ClusterConfig:
    """The GPUs that a plan assumes (`plan_only`), instead of looking at the machine."""

    gpus: int = setting(0, at_least=0)
    """all of them; 0 for what is there"""
    gpus_per_node: int = setting(8, at_least=1)
    """those of a full node; the last one has the rest"""
    gpu_gib: float = setting(80.0, above=0)
    """the memory of each"""


@dataclass
class GuardConfig:
    """What stops a run that is not doing what it says."""

    max_logprob_gap: float = setting(0.1, above=0)
    """largest mean |behaviour - learner| log-probability of senior tokens before an update, in nats"""
    max_skipped_updates: int = setting(8, at_least=0)
    """optimizer steps in a row that may be skipped because a gradient is not finite, before the run stops; 0: any number"""
    publish_timeout_s: float = wait(600.0)
    """longest wait for the engines to take new weights"""
    max_restarts_per_hour: int = setting(20, at_least=0)
    """how many actors that died may be started again within an hour, all together; 0: the first that dies ends the run"""
    stall_s: float = wait(1800.0)
    """when no step has finished for so long, it is printed where each process is"""


@dataclass
class CheckpointConfig:
    """What a run can be resumed from."""

    save_every: int = setting(20, at_least=0)
    """training steps between two checkpoints; there is one after the last step too; 0: none is written"""
    keep_last: int = setting(2, at_least=0)
    """checkpoints to keep, older ones are removed once a new one is complete; 0: all"""
    export: bool = False
    """write the senior as a Hugging Face directory too, as often as a checkpoint; these are all kept"""
    on_signal: bool = True
    """on SIGTERM, by which schedulers stop a job, write a checkpoint of the last step before the run ends; not if
    save_every is 0"""
    on_signal_wait_s: float = wait(25.0)
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
    samples_per_step: int = setting(16, at_least=0)
    """rollouts kept word by word with their authors, per step and per evaluation, whole groups as far as they go"""
    export: bool = True
    """write the final senior as a Hugging Face directory"""
    export_wait_s: float = setting(600.0, at_least=0)
    """how long the final senior and the results of an evaluation wait for room on a full disk"""
    export_fallback: str = ""
    """the folder that the final senior is written to where the run folder's disk stays full or fails; empty: `seniors` in
    cache_dir"""
    rollouts: bool = False
    """save what every step learned from whole, for learner_only"""
