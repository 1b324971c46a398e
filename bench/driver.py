"""Measure the cost of a training step for the driver, from the replicas' messages to the ranks'; no engine or learner runs.

    python -m bench.driver --json

docs/cluster.md explains the figures.
"""

from __future__ import annotations

import pickle
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.report import Figures, benchmark_parser, print_figures
from launch.text_tables import terminal_table
from tandem import guards
from tandem.advantage import assign_advantages
from tandem.batching import RankPlan, plan_step
from tandem.config.schema import Config
from tandem.metrics import rollout_metrics
from tandem.replay import draws_of, replay
from tandem.rewards import assign_rewards
from tandem.rollout import FROZEN_VERSION, EndReason, Group, Problem, Prompt, Rollout, Verdict
from tandem.schedule import Schedule
from tandem.verify.judgement import plain_judgement

ROLLOUTS, GROUP_SIZE = 1_024, 16
TOKENS = (3_000, 32_000)
"""Longest rollouts that are measured; the shortest have a quarter."""
RANKS = 64
VOCABULARY, WORD_SHARE = 151_936, 0.35
"""The vocabulary of Qwen3, and the share of it that begins a word."""
PROMPT_TOKENS = 200
PICKLE = 5
"""The protocol with which Ray sends arrays without copying them into the message."""

Message = tuple[bytes, list[bytes]]
"""A pickled object, and the arrays beside it."""


@dataclass(frozen=True)
class DriverCost:
    """The cost of one step for the driver."""

    tokens: int
    """of all rollouts"""
    cpu_s: dict[str, float]
    """CPU seconds by part of the step"""
    received: int
    """bytes of the replicas' messages"""
    sent: int
    """bytes of the ranks' messages"""
    peak_gib: float
    """memory that the step added at its peak"""

    @property
    def total_s(self) -> float:
        """Return the CPU seconds of the step."""
        return sum(self.cpu_s.values())


def boundaries() -> np.ndarray:
    """Return a random boundary table of words."""
    return (np.random.default_rng(0).random(VOCABULARY) < WORD_SHARE).astype(np.uint8)


def written(count: int, max_tokens: int, table: np.ndarray) -> Iterator[Group]:
    """Yield groups as replicas return them, judged: random tokens, with the mask that the schedule gives."""
    rng, schedule = np.random.default_rng(1), Schedule()
    for index in range(count // GROUP_SIZE):
        prompt = Prompt(Problem(str(index), "?", "!"), tuple(range(PROMPT_TOKENS)))
        rollouts = [_rollout(f"{index}/{k}", prompt, rng, max_tokens, schedule, table) for k in range(GROUP_SIZE)]
        group = Group(prompt, rollouts, schedule)
        verdicts = [Verdict.CORRECT if correct else Verdict.WRONG for correct in rng.random(GROUP_SIZE) < 0.5]
        group.judgements = list(map(plain_judgement, verdicts))
        yield group


def _rollout(
    name: str, prompt: Prompt, rng: np.random.Generator, max_tokens: int, schedule: Schedule, table: np.ndarray
) -> Rollout:
    length, seed = int(rng.integers(max_tokens // 4, max_tokens, endpoint=True)), int(rng.integers(0, 2**32))
    token_ids = rng.integers(0, VOCABULARY, length).astype(np.int32)
    authorship = replay(schedule, table, seed, token_ids).authorship
    rollout = Rollout(
        id=name,
        prompt_ids=np.array(prompt.token_ids, np.int32),
        token_ids=token_ids,
        authorship=authorship,
        logprobs=np.full(length, -1.0, np.float32),
        weight_versions=np.where(authorship, 0, FROZEN_VERSION).astype(np.int32),
        end=EndReason.EOS,
        seed=seed,
    )
    rollout.draws = draws_of(rollout, schedule, table)
    return rollout


def packed(thing: object) -> Message:
    """Return `thing` as Ray sends it: the arrays are copied once."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(thing, PICKLE, buffer_callback=arrays.append)
    return head, [bytes(array) for array in arrays]


def size(message: Message) -> int:
    """Return the bytes of a message."""
    head, arrays = message
    return len(head) + sum(map(len, arrays))


class CpuClock:
    """Adds up CPU time by part of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.process_time()

    def __call__(self, part: str) -> None:
        """Add the time since the last call to `part`."""
        now = time.process_time()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now


def driver_step(messages: list[Message], table: np.ndarray, max_tokens: int, ranks: int) -> tuple[CpuClock, int, int]:
    """Do the driver's part of one step, as `launch.run.loop`. Return its CPU times, the tokens, and the bytes sent."""
    config, clock = Config(), CpuClock()
    config.rollout.sampling.max_tokens, config.learner.micro_batch_tokens = max_tokens, 2 * max_tokens
    groups: list[Group] = [pickle.loads(head, buffers=arrays) for head, arrays in messages]
    clock("receive")
    assign_rewards(groups, config.reward, max_tokens)
    guards.check_authorship(groups, table)
    guards.check_finite_logprobs(groups)
    guards.check_weight_version(groups, 0)
    guards.check_verdicts(groups)
    clock("check")
    assign_advantages(groups, config.algo.advantage)
    metrics = rollout_metrics(groups)
    clock("metrics")
    plans: list[RankPlan] = plan_step(groups, 1, config, ranks)
    clock("plan")
    sent = sum(size(packed(plan)) for plan in plans)
    clock("send")
    return clock, int(metrics["rollout/tokens"]), sent


def measure(rollouts: int, max_tokens: int, ranks: int) -> DriverCost:
    """Measure one step."""
    table = boundaries()
    messages = [packed(group) for group in written(rollouts, max_tokens, table)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, tokens, sent = driver_step(messages, table, max_tokens, ranks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return DriverCost(tokens, clock.seconds, sum(map(size, messages)), sent, peak / 2**20)


def figures(costs: dict[int, DriverCost]) -> Figures:
    """Return the driver's cost by longest rollout; `driver_s_per_step` is that of the longest."""
    found: Figures = {"rollouts": ROLLOUTS, "ranks": RANKS, "driver_s_per_step": round(costs[max(costs)].total_s, 2)}
    for max_tokens, cost in costs.items():
        name = f"{max_tokens // 1000}k"
        found |= {
            f"driver_s_per_step_{name}": round(cost.total_s, 2),
            f"received_mb_{name}": round(cost.received / 1e6),
            f"sent_mb_{name}": round(cost.sent / 1e6),
            f"driver_peak_gib_{name}": round(cost.peak_gib, 2),
            **{f"{part}_s_{name}": round(seconds, 2) for part, seconds in cost.cpu_s.items()},
        }
    return found


def _serve(max_tokens: int, pipe: Connection) -> None:
    measure(GROUP_SIZE, 100, RANKS)  # imports
    pipe.send(measure(ROLLOUTS, max_tokens, RANKS))


def measured() -> dict[int, DriverCost]:
    """Measure each length in a separate process, because a process reports only its peak memory since its start."""
    costs, context = {}, get_context("spawn")
    for max_tokens in TOKENS:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(max_tokens, theirs))
        process.start()
        costs[max_tokens] = ours.recv()
        process.join()
    return costs


def cost_table(costs: dict[int, DriverCost]) -> Table:
    """Return a table of the CPU seconds by part of the step."""
    rows = (
        [f"{max_tokens:,}", f"{cost.tokens:,}", *(f"{seconds:.2f}" for seconds in cost.cpu_s.values()), f"{cost.total_s:.2f}"]
        for max_tokens, cost in costs.items()
    )
    header = ("longest", "tokens", *costs[TOKENS[0]].cpu_s, "CPU s")
    return terminal_table(header, rows, title=f"The driver: {ROLLOUTS:,} rollouts, {RANKS} ranks", left=0)


def main() -> None:
    """Measure and print the figures."""
    options, console = benchmark_parser("driver", __doc__).parse_args(), Console()
    costs = measured()
    console.print(cost_table(costs))
    print_figures(figures(costs), console, as_json=options.json)


if __name__ == "__main__":
    main()
