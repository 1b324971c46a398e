"""How often the base solves each training problem alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress

from launch.cluster.local_cluster import given_cluster
from launch.cluster.plan import run_plan
from launch.entry import check_own_settings
from launch.evaluation.workers import start_workers
from launch.status import INPUTS, status
from launch.storage.owner import held
from launch.storage.places import check_writable
from launch.terminal import terminal_console
from tandem import guards
from tandem.authors import load_authors
from tandem.config.schema import Config, ConfigError
from tandem.data.pass_rates import PassRateFile
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.plan.run_plan import RunPlan, planned
from tandem.rollout import Group, Verdict
from tandem.schedule import SOLO, solo_config

CHUNK = 256
"""Problems between two writes of the file. After an interruption, at most this number of problems is tried again."""


def measure_pass_rates(config: Config) -> None:
    """Try each training problem that is not in `data.pass_rates` yet `data.difficulty_rollouts` times."""
    check_own_settings(config, "launch/difficulty.py")
    if not config.data.pass_rates:
        raise ConfigError("data.pass_rates is empty: name the file to write")
    config = solo_config(config)
    path = Path(config.data.pass_rates)
    check_writable(path.parent, f"data.pass_rates={config.data.pass_rates}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with held(path.with_name(f"{path.name}.owner"), path, f"data.pass_rates={config.data.pass_rates}"), given_cluster():
        plan = run_plan(config, learns=False)
        _measure_unknown(planned(config, plan), plan, path)


def _measure_unknown(config: Config, plan: RunPlan, path: Path) -> None:
    """Try the problems that are not in the pass-rate file `path`, which is locked for this process."""
    file, count, console = PassRateFile(path), config.data.difficulty_rollouts, terminal_console()
    data = replace(config.data, pass_rates="")
    with status("Reading models and data", INPUTS):
        authors = load_authors(config)
        tokenizers = authors.junior_tokenizers
        problems = load_problems(data, config.seed, authors.tokenizer, tokenizers, cache=config.cache_path).catalogue
    if problems is None:
        raise ConfigError(f"data.pass_rates={path}: data.source={data.source} has no end, or no training problems")
    todo = [index for index, id_ in enumerate(problems.ids) if id_ not in file.known]
    console.print(f"{path}: {len(problems) - len(todo)} problems are known, {len(todo)} to try {count} times each")
    if not todo:
        return

    logs = path.with_suffix(".logs")
    with start_workers(config, authors, plan, logs, console.print) as (pool, judge), Progress(console=console) as progress:
        bar = progress.add_task("trying", total=len(todo))
        for start in range(0, len(todo), CHUNK):
            chunk = [problems[index] for index in todo[start : start + CHUNK]]
            prompts, _ = encode(chunk, authors.tokenizer, config.data)
            groups = pool.generate(
                prompts, count, SOLO, config.rollout.sampling, f"difficulty{start}", on_group=lambda _: progress.advance(bar)
            )
            judge.judge_groups(groups, config.judge.step_timeout_s)
            if warning := guards.check_verdicts(groups):
                console.print(f"problems {start + 1} to {start + len(chunk)} of {len(todo)}: {warning}")
            file.add(solved_counts(groups), count)
    if unjudged := sum(problems.ids[index] not in file.known for index in todo):
        console.print(
            f"{path} lacks {unjudged} problems none of whose answers could be judged; start again to try them, and raise "
            f"judge.timeout_s={config.judge.timeout_s:g} if the verifier was too slow"
        )


def solved_counts(groups: Sequence[Group]) -> dict[str, int]:
    """Return the number of correct rollouts of each problem by its id, without problems none of whose rollouts were judged."""
    return {
        group.prompt.problem.id: group.verdicts.count(Verdict.CORRECT)
        for group in groups
        if any(verdict.judged for verdict in group.verdicts)
    }
