"""Messages for what a user gives on the command line: Hydra's name neither the argument nor the remedy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException

from launch.command_line import CONF, TYPES, quoted
from tandem.config.load import RETIRED
from tandem.config.schema import ConfigError

PEERS = {
    "data.max_prompt_tokens": "max_prompt_length prompt_max_len",
    "data.path": "dataset_name train_files prompt_data",
    "data.verifier": "reward_funcs reward_function custom_reward_function",
    "model.path": "model_name_or_path pretrain",
    "rollout.prompts_per_step": "batch_size train_batch_size per_device_train_batch_size rollout_batch_size",
    "rollout.group_size": "num_generations n n_samples_per_prompt",
    "rollout.sampling.max_tokens": "max_new_tokens max_completion_length max_response_length generate_max_len",
    "rollout.gpu_memory_fraction": "gpu_memory_utilization vllm_gpu_memory_utilization",
    "rollout.replicas": "vllm_num_engines num_engines",
    "algo.kl_coef": "beta kl_loss_coef init_kl_coef",
    "algo.clip_low": "epsilon clip_ratio eps_clip clip_ratio_low",
    "algo.clip_high": "epsilon_high clip_ratio_high",
    "algo.aggregation": "loss_type loss_agg_mode",
    "algo.advantage": "adv_estimator advantage_estimator",
    "algo.mini_batches": "num_iterations ppo_mini_batch_size",
    "learner.lr": "learning_rate actor_learning_rate",
    "learner.lr_schedule": "lr_scheduler_type lr_scheduler",
    "learner.warmup_steps": "warmup_ratio lr_warmup_steps lr_warmup_ratio",
    "learner.grad_clip": "max_grad_norm max_norm",
    "learner.dtype": "bf16 torch_dtype param_dtype",
    "learner.lora.rank": "lora_r lora_rank",
    "learner.lora.alpha": "lora_alpha",
    "steps": "max_steps total_training_steps num_train_epochs total_epochs num_episodes epochs",
    "resume": "resume_from_checkpoint resume_mode load_checkpoint",
    "name": "run_name experiment_name wandb_run_name",
    "log.dir": "output_dir save_path default_local_dir",
    "log.wandb": "report_to project_name use_wandb",
    "checkpoint.save_every": "save_steps save_freq",
    "checkpoint.keep_last": "save_total_limit max_ckpt_num",
    "eval.every": "eval_steps test_freq",
}
"""The names of a setting in TRL, verl and OpenRLHF, which are looked up by the last part of a key."""
_PEERS = {peer: key for key, peers in PEERS.items() for peer in peers.split()}
_WANTED: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number"}
"""The value that a key of each type needs, in words."""
_UNKNOWN_KEY = re.compile(r"Could not override '([^']*)'")
_ILL_TYPED = re.compile(r"Error merging override ([^=]+)=(.*)")
_SEVERAL = re.compile(r"Ambiguous value for argument '(.*)'")


def explain(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """Return one message for the user: Hydra wraps the useful one, and advises to add unknown keys, which are refused.

    `arguments` are those of the command line.
    """
    if isinstance(error, OverrideParseException):
        return explain_unreadable(error.override, arguments)
    if isinstance(error, MissingConfigException) and (message := _explain_missing(str(error.missing_cfg_file))):
        return message
    if match := _UNKNOWN_KEY.search(str(error)):
        return explain_unknown(match[1])
    if match := _SEVERAL.search(str(error)):
        return f"{match[1]}: several values are a sweep; add --multirun, or give one"
    if match := _ILL_TYPED.match(str(error)):
        if wanted := _WANTED.get(TYPES.get(match[1].lstrip("+"))):
            return f"{match[1]}={match[2]}: give {wanted}"
        if "is not a ListConfig" in str(error.__cause__):
            return f"{match[1]}={match[2]}: this is a list; write '{match[1]}=[{match[2]}]'"
    lines = [str(error).strip()]
    if error.__cause__ is not None and not isinstance(error, ConfigError):
        lines.append(str(error.__cause__).strip().splitlines()[0])
    return "\n".join(line for line in lines if line)


def explain_unreadable(override: str, arguments: Sequence[str] = ()) -> str:
    """Return a message with the remedy for an override that Hydra cannot read, one of the command line's `arguments`."""
    key, equals, value = override.partition("=")
    name = key.lstrip("+~").partition("@")[0]
    if whole := _split_by_shell(override, arguments):
        return f"{override}: the shell has split this off; quote the whole argument: {shlex.quote(whole)}"
    if not equals:
        return f"{override}: give a value, as in {override}=VALUE" if known(name) else explain_unknown(name)
    if (CONF / name).is_dir():
        return f"{override}: {_choose(name, value)}"
    if not known(name):
        return explain_unknown(name)
    kind: Any = TYPES.get(name)
    if kind in _WANTED:
        return f"{override}: give {_WANTED[kind]}"
    if kind == list[str]:
        return f"{override}: this is a list; write {shlex.quote(f'{key}=[{quoted(value)}]')}"
    return f"{override}: this cannot be read; if it is one text, write {shlex.quote(f'{key}={quoted(value)}')}"


def _split_by_shell(override: str, arguments: Sequence[str]) -> str:
    """Return the argument that the shell has split at its spaces into `override` and its neighbors; empty if it has not.

    A part without `=` belongs to the argument before it.
    """
    if override not in arguments:
        return ""
    start = stop = list(arguments).index(override)
    while start > 0 and "=" not in arguments[start] and not arguments[start - 1].startswith("-"):
        start -= 1
    while stop + 1 < len(arguments) and "=" not in arguments[stop + 1] and not arguments[stop + 1].startswith("-"):
        stop += 1
    whole = " ".join(arguments[start : stop + 1])
    return whole if stop > start and "=" in arguments[start] else ""


def explain_unknown(key: str) -> str:
    """Return a message with the keys that are similar to an unknown one, or with the remedy for a retired key."""
    if key in RETIRED:
        return f"{key}: there is no such key any more: {RETIRED[key]}"
    last = key.split(".")[-1]
    similar = [other for other in TYPES if other.split(".")[-1] == last]
    similar = similar or ([_PEERS[last]] if last in _PEERS else get_close_matches(key, [*TYPES, *group_files()], n=3))
    return f"{key}: there is no such key" + (f"; did you mean {' or '.join(similar)}?" if similar else "")


def _explain_missing(file: str) -> str:
    """Return a message for `GROUP/NAME`, which is no file of conf/; empty if GROUP is no group."""
    group, _, name = file.removesuffix(".yaml").rpartition("/")
    return f"{group}={name}: there is no conf/{group}/{name}.yaml; {_choose(group, name)}" if group in group_files() else ""


def _choose(group: str, name: str) -> str:
    """Return the remedy for `name`, which `group` does not have."""
    names = group_files()[group]
    similar = get_close_matches(name, names, n=1)
    return f"did you mean {similar[0]}? The choices are {', '.join(names)}" if similar else f"choose {' or '.join(names)}"


def group_files() -> dict[str, list[str]]:
    """Return the names of the files in each group of conf/."""
    return {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in sorted(CONF.glob("*/"))}


def known(key: str) -> bool:
    """Whether `key` is a setting, a section, or inside a setting that is a dictionary."""
    return any(key == other or other.startswith(f"{key}.") or key.startswith(f"{other}.") for other in TYPES)
