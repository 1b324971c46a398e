"""The stages: what each runs, what it needs, and the figures that it reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from xml.etree import ElementTree

from launch.gpu_stages.results import Figures
from tandem.records.json_files import LogReader
from tandem.records.run_record import METRICS

MODELS = "models"
"""The stage that writes the models of the later stages, and its folder."""


@dataclass(frozen=True)
class Stage:
    """A process of the GPU check."""

    name: str
    shows: str
    command: tuple[str, ...]
    """the arguments of Python; `{out}` stands for the folder of the results"""
    figures: Callable[[Path, str], Figures]
    """returns the figures, given the stage's folder and its output"""
    limit_s: float
    gpus: int = 1
    """the GPUs that it needs; 0: it runs without"""
    gpu_gib: float = 0.0
    """the memory that it needs on each GPU"""
    after: tuple[str, ...] = ()
    """the stages whose files it uses"""
    published: str = ""
    """figures of other projects, to be read beside its own"""


def last_object(_: Path, printed: str) -> Figures:
    """Return the figures in the last line that is a JSON object: libraries may print at their exit."""
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    if not lines:
        raise ValueError("no JSON object was printed")
    figures: Figures = json.loads(lines[-1])
    return figures


def tests(folder: Path, _: str) -> Figures:
    """Return how many tests ran and were skipped, from pytest's report."""
    (suite,) = ElementTree.parse(folder / "report.xml").getroot().iter("testsuite")
    return {key: int(suite.attrib[key]) for key in ("tests", "skipped")}


def metrics(*keys: str) -> Callable[[Path, str], Figures]:
    """Return a function that reads the medians of a run's metrics over its steps but the first, which warms up."""

    def read(folder: Path, _: str) -> Figures:
        rows = _rows(folder)
        return {key: float(f"{median(row[key] for row in rows):.4g}") for key in keys}

    return read


def learner_speed(folder: Path, _: str) -> Figures:
    """Return the tokens per second of a run without engines, and the learner's peak memory."""
    rows = _rows(folder)
    speed = median(row["learner/tokens"] / row["time/update_s"] for row in rows)
    return {"tokens_per_s": round(speed, 1), "gpu_gib": round(rows[-1]["memory/rank0/gpu_gib"], 2)}


def _rows(folder: Path) -> list[dict[str, float]]:
    rows = [row for row in LogReader(folder / METRICS).new() if row["step"] > 1]
    if not rows:
        raise ValueError("the run took fewer than two steps")
    return rows


def _run(name: str, *overrides: str) -> tuple[str, ...]:
    common = ("checkpoint.save_every=0", "log.export=false", "log.tensorboard=false", "eval.problems=2")
    return ("launch/train.py", f"name={name}", "log.dir={out}", *common, *overrides)


def _large(name: str, size: str, *overrides: str) -> tuple[str, ...]:
    """Return the command of a run on a model of random weights. All rewards are 0; `algo.lambda_junior` gives a gradient."""
    model = ("model=hf", f"model.path={{out}}/{MODELS}/{size}", "model.dtype=bfloat16", "learner.dtype=bfloat16")
    learner = ("learner.gradient_checkpointing=true", "algo.mini_batches=1", "algo.lambda_junior=0.1", "learner.zero_stage=2")
    return _run(name, *model, *learner, *overrides)


def _tandem(name: str, size: str, *overrides: str) -> tuple[str, ...]:
    texts = ("rollout.prompts_per_step=8", "rollout.sampling.max_tokens=512", "eval.sampling.max_tokens=64")
    return _large(name, size, "steps=3", "schedule=token", "data.max_prompt_tokens=128", *texts, *overrides)


def _learner(name: str, size: str) -> tuple[str, ...]:
    """Return the command of updates over sequences of 16,384 tokens."""
    texts = ("data.max_prompt_tokens=384", "rollout.sampling.max_tokens=16000", "eval.sampling.max_tokens=16000")
    batch = ("rollout.prompts_per_step=2", "rollout.group_size=2", "learner.micro_batch_tokens=16384")
    memory = ("learner.logprob_chunk_tokens=256",)
    return _large(name, size, "steps=3", "learner_only=fake_longest", *texts, *batch, *memory)


def _speed(*options: str) -> tuple[str, ...]:
    model = ("--model", f"{{out}}/{MODELS}/1.7B", "--device", "cuda", "--schedule", "token")
    work = ("--rollouts", "128", "--tokens", "512", "--repeats", "2", "--modes", "solo", "tandem", "naive", "--json")
    return ("-m", "bench.cogen", *model, *work, *options)


RUN_METRICS = ("rollout/tokens_per_s", "logprob/gap_mean", "time/generate_s", "time/update_s", "time/publish_s")
STAGES = (
    Stage("kernels", "imports, and kernels of torch and vLLM", ("-m", "launch.gpu_stages.kernels"), last_object, 300, gpus=0),
    Stage(
        "tests",
        "the tests that need a GPU",
        ("-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--junitxml={out}/tests/report.xml"),
        tests,
        300,
    ),
    Stage(
        "tiny",
        "two tandem steps of the offline model; engines and learner differ by less than 5e-3 nats",
        _run("tiny", "steps=2", "guard.max_logprob_gap=0.005", "rollout.prompts_per_step=4"),
        metrics(*RUN_METRICS),
        400,
        gpus=0,
    ),
    Stage(MODELS, "models of random weights", ("-m", "launch.gpu_stages.random_models", f"{{out}}/{MODELS}"), last_object, 180),
    Stage(
        "graphs",
        "1.7B with CUDA graphs: solo, tandem, naive",
        _speed(),
        last_object,
        240,
        gpu_gib=22,
        after=(MODELS,),
    ),
    Stage("eager", "the same without graphs", _speed("--eager"), last_object, 240, gpu_gib=22, after=(MODELS,)),
    Stage(
        "sleep",
        "tandem steps of 1.7B on one GPU, with sleep and wake",
        _tandem("sleep", "1.7B"),
        metrics(*RUN_METRICS, "time/sleep_s"),
        240,
        gpu_gib=40,
        after=(MODELS,),
    ),
    Stage(
        "lora",
        "the same with an adapter of rank 16",
        _tandem("lora", "1.7B", "learner.lora.rank=16"),
        metrics(*RUN_METRICS, "time/sleep_s"),
        240,
        gpu_gib=40,
        after=(MODELS,),
    ),
    Stage(
        "learner-0.6B",
        "the learner on 0.6B, sequences of 16,384 tokens",
        _learner("learner-0.6B", "0.6B"),
        learner_speed,
        180,
        gpu_gib=22,
        after=(MODELS,),
        published="prime-rl: 11,900 tokens/s on one H100",
    ),
    Stage(
        "learner-4B",
        "the learner on 4B, sequences of 16,384 tokens",
        _learner("learner-4B", "4B"),
        learner_speed,
        240,
        gpu_gib=79,
        after=(MODELS,),
        published="prime-rl: 6,200 tokens/s on one H100",
    ),
    Stage(
        "sync",
        "weight syncs of 0.6B on one GPU",
        _tandem("sync", "0.6B"),
        metrics(*RUN_METRICS),
        240,
        gpu_gib=22,
        after=(MODELS,),
        published="TRL: a sync takes 0.18 s",
    ),
    Stage(
        "sync-nccl",
        "weight syncs of 0.6B from GPU to GPU by NCCL",
        _tandem("sync-nccl", "0.6B", "learner.transport=nccl"),
        metrics(*RUN_METRICS),
        240,
        gpus=2,
        gpu_gib=22,
        after=(MODELS,),
    ),
)
