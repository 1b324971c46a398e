"""Measure what a senior gains when its junior drafts for it: seniors trained with tandem and with GRPO, one request at a time.

    python -m bench.speculation --json

docs/serving.md explains the figures. Without --senior-tandem and --senior-grpo it first trains both.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console

from actors.engine_layout import engine_specs
from actors.engine_spec import EngineSpec
from bench.engines import engine_pair
from bench.report import Figures, benchmark_parser, print_figures
from launch.cluster.environment import set_environment
from launch.entry import configuration
from launch.evaluation.measured_run import senior_of
from tandem.authors import load_authors
from tandem.cogeneration import Limits, cogenerate
from tandem.config.rollout import SamplingConfig
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.rollout import SENIOR
from tandem.schedule import SOLO

if TYPE_CHECKING:
    from actors.engine import Engine

ROOT = Path(__file__).resolve().parent.parent
ARMS = ("tandem", "grpo")
JUNIOR, SMALL_JUNIOR = "zoo:plain", "zoo:plain_small"
TRAINING = ("model.recipe=jargon", f"junior=[{JUNIOR}]", "eval.every=0", "checkpoint.save_every=0")
ENGINE = (
    *("schedule=solo", "mode.device=cpu", "rollout.max_in_flight=1", "rollout.kv_cache_gib=0.1"),
    *("data.max_prompt_tokens=256", "rollout.sampling.max_tokens=96", "eval.sampling.max_tokens=96"),
)
PLAIN = 0
"""The key of the engine without drafts; after it come the engines with drafts, one for each junior."""
SEED = 1
GREEDY = SamplingConfig(temperature=0.0, max_tokens=96)


@dataclass
class Work:
    """The prompts that every engine of one senior continues, and the engines."""

    specs: dict[int, EngineSpec]
    prompts: list[tuple[int, ...]]
    limits: Limits


@dataclass
class Written:
    """What one engine has written in all repeats."""

    texts: list[list[int]] = field(default_factory=list)
    """of the last repeat"""
    tokens_per_s: list[float] = field(default_factory=list)
    acceptance: float = 0.0
    """the share of drafted tokens that the senior accepts"""


def trained(arm: str, steps: int, folder: str) -> str:
    """Train a senior with `algo=ARM`, and return its run folder."""
    overrides = [f"algo={arm}", f"name={arm}", f"log.dir={folder}", f"steps={steps}", *TRAINING]
    subprocess.run([sys.executable, "launch/train.py", *overrides], cwd=ROOT, check=True, stdout=sys.stderr)
    return f"{folder}/{arm}"


def work_of(senior: str, juniors: Sequence[str], draft_tokens: int, prompts: int) -> Work:
    """Return the work of a senior, with an engine without drafts and one for each junior that drafts."""
    settings = ["model=hf", f"model.path={senior_of(senior)}", *ENGINE]
    specs = {}
    for engine, junior in enumerate([juniors[0], *juniors]):
        drafts = 0 if engine == PLAIN else draft_tokens
        config = configuration([*settings, f"junior=[{junior}]", f"speculative={drafts}"])
        set_environment(config.cache_path)
        authors = load_authors(config)
        specs[engine] = engine_specs(config, authors, "cpu", streams=True)[0][0]
    problems = load_problems(config.data, SEED, authors.tokenizer).held_out(prompts)
    encoded = [prompt.token_ids for prompt in encode(problems, authors.tokenizer, config.data)[0]]
    return Work(specs, encoded, Limits(GREEDY.max_tokens, authors.context, frozenset(authors.eos_ids)))


async def written(work: Work, repeats: int) -> list[Written]:
    """Return what each engine writes, one text at a time, the engines in turn."""
    results = [Written() for _ in work.specs]
    async with engine_pair(work.specs) as pair:
        for repeat in range(-1, repeats):  # the first only warms up
            for index, engine in pair.engines.items():
                start = time.perf_counter()
                texts = [await _text(engine, work, prompt, f"{repeat}/{prompt}") for prompt in range(len(work.prompts))]
                if repeat >= 0:
                    results[index].tokens_per_s.append(sum(map(len, texts)) / (time.perf_counter() - start))
                results[index].texts = texts
        for index, engine in pair.engines.items():
            drafted, accepted = await engine.drafts()
            results[index].acceptance = accepted / max(drafted, 1)
    return results


async def _text(engine: Engine, work: Work, prompt: int, rollout_id: str) -> list[int]:
    sessions = {SENIOR: engine.session(rollout_id, GREEDY)}
    boundaries = engine.spec.boundaries()
    rollout = await cogenerate(rollout_id, work.prompts[prompt], sessions, SOLO, boundaries, prompt, work.limits)
    return [int(token) for token in rollout.token_ids]


def figures(results: Mapping[str, Sequence[Written]], drafts: Sequence[str]) -> Figures:
    """Return the figures of each arm's engines; `drafts` are the suffixes of the juniors' figures."""
    result: Figures = {}
    for arm, (plain, *drafting) in results.items():
        result[f"tokens_per_s_{arm}"] = round(median(plain.tokens_per_s), 1)
        for suffix, engine in zip(drafts, drafting, strict=True):
            result[f"acceptance_{arm}{suffix}"] = round(engine.acceptance, 3)
            result[f"drafted_tokens_per_s_{arm}{suffix}"] = round(median(engine.tokens_per_s), 1)
            result[f"speedup_{arm}{suffix}"] = round(median(engine.tokens_per_s) / median(plain.tokens_per_s), 3)
    texts = [[engine.texts for engine in engines] for engines in results.values()]
    result["greedy_equal"] = int(all(each == plain for plain, *drafting in texts for each in drafting))
    return result


def main() -> None:
    """Measure both seniors and print the figures."""
    parser = benchmark_parser("speculation", __doc__)
    for arm in ARMS:
        parser.add_argument(f"--senior-{arm}", help=f"a run folder or model directory (default: train one with algo={arm})")
    parser.add_argument("--junior", default=JUNIOR, help="(default: %(default)s)")
    parser.add_argument("--small-junior", default=SMALL_JUNIOR, help="another with the same tokenizer (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="training steps of each arm (default: %(default)s)")
    parser.add_argument("--draft-tokens", type=int, default=4, help="tokens of a draft (default: %(default)s)")
    parser.add_argument("--prompts", type=int, default=24, help="held-out problems (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="(default: %(default)s)")
    options = parser.parse_args()
    results = {}
    with TemporaryDirectory() as folder:
        for arm in ARMS:
            senior = getattr(options, f"senior_{arm}") or trained(arm, options.steps, folder)
            work = work_of(senior, [options.junior, options.small_junior], options.draft_tokens, options.prompts)
            results[arm] = asyncio.run(written(work, options.repeats))
    print_figures({"draft_tokens": options.draft_tokens, **figures(results, ["", "_small"])}, Console(), as_json=options.json)


if __name__ == "__main__":
    main()
