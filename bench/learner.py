"""Speed of the learner: an update of a rank, against a bare torch loop over equally many tokens without padding.

    python -m bench.learner --model smollm2 --json

docs/learner.md explains the figures.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from bench.processes import servers
from bench.report import Figures, benchmark_parser, print_figures
from launch.cluster.environment import set_environment
from launch.entry import configuration
from launch.text_tables import terminal_table
from tandem.authors import load_authors
from tandem.batching import plan_step, to_samples
from tandem.config.schema import Config
from tandem.rollout import BASE_VERSION, SENIOR, EndReason, Group, Problem, Prompt, Rollout
from tandem.schedule import SOLO

MODELS = ("smollm2", "tiny")
PROMPT_TOKENS = 65
"""Length of the offline task's prompts in SmolLM2's chat template."""
# fmt: off
COMPLETIONS = (
    52, 128, 8, 4, 51, 26, 128, 128, 41, 22, 38, 128, 45, 4, 128, 128, 94, 57, 128, 91, 47, 128, 128, 128, 29, 14, 128,
    128, 106, 22, 21, 23, 52, 128, 128, 97, 98, 53, 128, 128, 128, 87, 77, 27, 114, 65, 79, 108, 113, 128, 128, 85, 11,
    128, 25, 128, 128, 47, 41, 128, 128, 128, 128, 95,
)
# fmt: on
"""Tokens of 64 rollouts by SmolLM2 on the offline task, at temperature 1 and `rollout.sampling.max_tokens=128`."""
GROUP_SIZE = 8


def solo_groups(rollouts: int, vocabulary: int) -> list[Group]:
    """Return groups of rollouts by the senior alone, with random tokens and realistic lengths."""
    rng = np.random.default_rng(1)

    def ids(count: int) -> np.ndarray:
        return rng.integers(0, vocabulary, count).astype(np.int32)

    def rollout(name: str, prompt_ids: np.ndarray, length: int) -> Rollout:
        return Rollout(
            id=name,
            prompt_ids=prompt_ids,
            token_ids=ids(length),
            authorship=np.full(length, SENIOR, np.int8),
            logprobs=np.full(length, -np.log(vocabulary), np.float32),
            weight_versions=np.full(length, BASE_VERSION, np.int32),
            end=EndReason.EOS,
            seed=0,
        )

    groups = []
    for first in range(0, rollouts, GROUP_SIZE):
        prompt_ids = ids(PROMPT_TOKENS)
        lengths = [COMPLETIONS[i % len(COMPLETIONS)] for i in range(first, min(first + GROUP_SIZE, rollouts))]
        written = [rollout(f"{first}/{i}", prompt_ids, length) for i, length in enumerate(lengths)]
        prompt = Prompt(Problem(str(first), "", ""), tuple(prompt_ids.tolist()))
        groups.append(Group(prompt, written, SOLO, advantages=rng.normal(size=len(written)).astype(np.float32)))
    return groups


def learner(config: Config, path: str, groups: list[Group]) -> Callable[[int], dict[str, float]]:
    """Start the real learner in this process, rank 0 of 1 with DeepSpeed. Return a function that makes update `step`."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    from learner.rank import Rank, RankSpec

    with TemporaryDirectory() as folder:
        rank = Rank(config, RankSpec(0, 1, path, Path(folder) / "weights", threads=torch.get_num_threads()))
        with socket.create_server(("", 0)) as server:
            port: int = server.getsockname()[1]
        rank.join("127.0.0.1", port)
        rank.load()

    def update(step: int) -> dict[str, float]:
        return rank.update(plan_step(groups, step, config, ranks=1)[0], step)

    return update


def bare(config: Config, path: str, groups: list[Group]) -> Callable[[int], dict[str, float]]:
    """Return a function that runs forward, backward and AdamW over equally many random tokens, without padding."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learner.lr, weight_decay=0.0)
    samples = to_samples(groups, 0.0)
    tokens, scored = sum(map(len, samples)), sum(len(sample.weights) for sample in samples)
    length = tokens // len(samples)
    rows, tail = max(1, config.learner.micro_batch_tokens // length), round(length * scored / tokens)
    ids = torch.randint(0, AutoConfig.from_pretrained(path).vocab_size, (len(samples), length))

    def update(_: int) -> dict[str, float]:
        for batch in ids.split(rows):
            hidden = model.base_model(batch, use_cache=False).last_hidden_state[:, -tail - 1 : -1]
            logits = model.get_output_embeddings()(hidden).float()
            loss = cross_entropy(logits.flatten(0, 1), batch[:, -tail:].flatten(), reduction="sum") / (len(samples) * tail)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.learner.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        return {"learner/tokens": float(len(samples) * length), "learner/useful_token_fraction": 1.0}

    return update


SIDES = {"learner": learner, "bare": bare}


def serve(side: str, model: str, rollouts: int, cores: int, pipe: Connection) -> None:
    """Run in a separate process: make an update for each number received; send its seconds, metrics and peak memory in GiB."""
    torch.set_num_threads(cores)
    config = configuration([f"model={model}", "mode.device=cpu", "algo.mini_batches=1"])  # one optimizer step an update
    set_environment(config.cache_path)
    path = str(load_authors(config).senior)
    update = SIDES[side](config, path, solo_groups(rollouts, AutoConfig.from_pretrained(path).vocab_size))
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send(None)
    while (step := pipe.recv()) is not None:
        start = time.perf_counter()
        metrics = update(step)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send((seconds, metrics, max(peak, loaded) / 2**20))


def measured(model: str, rollouts: int, repeats: int) -> Figures:
    """Measure both sides alternately, each in its own process; the first update of each is a warm-up."""
    cores = len(os.sched_getaffinity(0))
    speeds: dict[str, list[float]] = {side: [] for side in SIDES}
    peaks, useful = {}, 1.0
    with servers(serve, [(side, model, rollouts, cores) for side in SIDES]) as pipes:
        for pipe in pipes:
            pipe.recv()
        for step in range(1, repeats + 2):
            for side, pipe in zip(SIDES, pipes, strict=True):
                pipe.send(step)
                seconds, metrics, peaks[side] = pipe.recv()
                if step > 1:
                    speeds[side].append(metrics["learner/tokens"] / seconds)
                useful = min(useful, metrics["learner/useful_token_fraction"])
    speed = {side: median(each) for side, each in speeds.items()}
    return {
        "learner_tokens_per_s": round(speed["learner"], 1),
        "bare_tokens_per_s": round(speed["bare"], 1),
        "learner_over_bare": round(speed["learner"] / speed["bare"], 3),
        "useful_token_fraction": round(useful, 4),
        "learner_peak_gib": round(peaks["learner"], 2),
        "bare_peak_gib": round(peaks["bare"], 2),
        "peak_over_bare": round(peaks["learner"] / peaks["bare"], 3),
    }


def main() -> None:
    """Measure as the command line specifies, and print the figures."""
    parser = benchmark_parser("learner", __doc__)
    parser.add_argument("--model", choices=MODELS, default="smollm2")
    parser.add_argument("--rollouts", type=int, default=32, help="of one update (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="medians are reported (default: %(default)s)")
    options = parser.parse_args()
    console = Console()
    results = measured(options.model, options.rollouts, options.repeats)
    rows = ([side, f"{results[f'{side}_tokens_per_s']:.0f}", f"{results[f'{side}_peak_gib']:.2f}"] for side in SIDES)
    console.print(terminal_table(("", "tokens/s", "peak GiB"), rows))
    settings = {"model": options.model, "rollouts": options.rollouts, "repeats": options.repeats}
    print_figures(settings | results, console, as_json=options.json)


if __name__ == "__main__":
    main()
