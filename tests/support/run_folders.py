"""Generated run folders of any size, in the format of training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tandem.config.schema import Config

SOLUTION = [
    "Start",
    " with",
    " 4",
    "6",
    ".\n",
    "Take",
    " 3:",
    " 46",
    " -",
    " 3",
    " =",
    " 43",
    ".\n",
    "The",
    " answer",
    " is 43",
]
HOSTILE = [
    "<script>window.broken = true</script>",
    "</script><script>window.broken = true</script>",
    "<img src=x onerror='window.broken = true'>",
    "<!-- <script>",
    "<b>unclosed",
    "&lt;&amp;",
    "]]>",
    "{{ 7 * 7 }}",
    "\u2028\u202e漢🙂\x00",
]
"""Texts that a page must show as text."""
PER_STEP = 8
"""Training rollouts saved per step."""


def make_run(folder: Path, *, steps: int = 6, seed: int = 0, texts: Sequence[str] = (), **config: Any) -> Path:
    """Write a run folder of `steps` steps with `PER_STEP` training rollouts each, and two held-out ones at the first and last.

    Every text of `texts` is the end of some rollout. `config` is set on the configuration.
    """
    folder.mkdir(parents=True)
    settings = Config(name=folder.name, steps=steps, **config)
    settings.model.source, settings.data.source = "zoo", "arith"
    (folder / "config.yaml").write_text(yaml.safe_dump(asdict(settings), sort_keys=False))
    write_lines(folder / "metrics.jsonl", (metrics(step, steps, Random(seed + step)) for step in range(steps + 1)))
    write_lines(folder / "samples.jsonl", samples(steps, Random(seed), texts))
    return folder


def metrics(step: int, steps: int, random: Random) -> dict[str, float]:
    """Return a step's row; that of step 0 has only the evaluation."""
    solo = {"solo/accuracy": 0.5 + 0.2 * step / steps, "solo/problems": 400} if step in (0, steps) else {}
    if step == 0:
        return {"step": 0, "weights/version": 0} | solo
    return {
        "step": step,
        "weights/version": step,
        "reward/mean": 0.4 + 0.3 * step / steps + random.gauss(0, 0.03),
        "tandem/senior_token_fraction": random.gauss(0.5, 0.01),
        "rollout/tokens_per_s": random.gauss(5000, 200),
        "time/generate_s": 1.2,
        "time/judge_s": 0.01,
        "time/update_s": 0.5,
        "time/publish_s": 0.05,
        "time/step_s": 1.8,
    } | solo


def samples(steps: int, random: Random, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the saved rollouts in the order in which training writes them."""
    endings = cycle(texts or ["."])
    for step in range(steps + 1):
        if step:
            for place in range(PER_STEP):
                yield sample(step, f"step{step}/0/{place}", f"arith/{step}", random, next(endings)) | {"advantage": 0.5}
        if step in (0, steps):
            for place in range(2):
                yield sample(step, f"eval{step}/{place}/0", f"held/{place}", random, next(endings)) | {"set": "held_out"}


def sample(step: int, name: str, problem: str, random: Random, ending: str) -> dict[str, Any]:
    """Return a rollout of `SOLUTION` and `ending`, with random authors and a random verdict."""
    tokens = [*SOLUTION, ending, "<|end|>"]
    turns: list[dict[str, Any]] = []
    for token in tokens:
        author = random.choice(["senior", "junior"])
        if not turns or turns[-1]["author"] != author:
            turns.append({"author": author, "text": "", "tokens": [], "token_ids": [], "logprobs": []})
        turns[-1]["text"] += token
        turns[-1]["tokens"].append(token)
        turns[-1]["token_ids"].append(len(token))
        turns[-1]["logprobs"].append(round(-random.expovariate(2), 4))
    verdict = random.choice(["correct", "correct", "wrong", "unparsable"])
    return {
        "step": step,
        "set": "training",
        "id": name,
        "problem": problem,
        "question": "Mia has 46 pens. eats 3. How many?",
        "gold": "43",
        "junior": 0,
        "prompt_ids": [1, 2, 3],
        "turns": turns,
        "end": random.choice(["eos", "eos", "eos", "budget"]),
        "verdict": verdict,
        "extracted": "43" if verdict == "correct" else None,
        "reward": float(verdict == "correct"),
    }


def write_lines(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    """Write JSON lines as training does."""
    with path.open("w") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
