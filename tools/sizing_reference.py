"""Write docs/reference/sizing.md, the estimated GPUs for each model. `python -m tools.sizing_reference`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from launch.cluster.plan import assumed_plan, print_plan
from launch.entry import configuration
from launch.text_tables import markdown_table
from tandem.config.schema import Config, ConfigError
from tandem.models.qwen3 import QWEN3_SHAPES
from tandem.plan.fit import longest_rollout
from tandem.plan.memory import (
    ENGINE_ASLEEP_GIB,
    ENGINE_OVERHEAD_GIB,
    RANK_OVERHEAD_GIB,
    REDUCE_BUCKET_SIZE,
    SUB_GROUP_SIZE,
    RankMemory,
    engine_memory,
    rank_memory,
)
from tandem.plan.placement import Node, most_replicas
from tandem.plan.run_plan import RunPlan, plan_on_cluster, plan_on_machine
from tandem.plan.sizes import Sizes, model_sizes
from tandem.runtime.units import GIB

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "sizing.md"
GPU_GIB, NODE_GPUS = 80.0, 8
FEWEST_TEXTS = 16
"""Texts of full length that an engine must hold at the same time; an engine that holds fewer gets more GPUs."""
ONE_GPU: list[dict[str, Any]] = [
    {},
    {"zero_stage": 2},
    {"offload_optimizer": True},
    {"zero_stage": 3, "offload_optimizer": True, "offload_parameters": True, "micro_batch_tokens": 4096},
]
MANY_GPUS: list[dict[str, Any]] = [{}, {"zero_stage": 3}, {"zero_stage": 3, "offload_optimizer": True}]
"""Settings of the learner, the fastest first."""
PLANS = (
    "plan_only=true mode=cluster cluster.gpus=8",
    "plan_only=true mode=cluster cluster.gpus=64 rollout.replicas=24 learner.ranks=16",
    "plan_only=true mode=local cluster.gpus=1 rollout.replicas=1 learner.ranks=1 learner.offload_optimizer=true",
    "plan_only=true mode=local cluster.gpus=1 cluster.gpu_gib=141 rollout.replicas=1 learner.ranks=1",
    "plan_only=true mode=local cluster.gpus=1 cluster.gpu_gib=24 rollout.replicas=1 learner.ranks=1 learner.lora.rank=16",
)
HEAD = """# Sizing

The GPUs that a model of a given size needs, for the published run's lengths (`+experiment=paper_qwen3_4b`: prompts of 1,024
and responses of 3,000 tokens, micro-batches of 16,384, bfloat16, a junior of the senior's size). All figures are GiB on each
GPU and **estimates, which no GPU has confirmed**. `tandem/plan/memory.py` computes them, also for `plan_only=true` and for the
check at the start of a run. `python -m tools.sizing_reference` writes this page.
"""
ENGINES = f"""## Engines

Weights take parameters × 2 bytes. The KV cache takes, for each token, 2 × layers × KV heads × head size × 2 bytes. Both are
divided by the engine's GPUs. The CUDA context, activations and graphs take {ENGINE_OVERHEAD_GIB} GiB. An engine that
shares a GPU with the learner sleeps during updates (`rollout.sleep`) and then takes {ENGINE_ASLEEP_GIB} GiB.
"""
RANKS = f"""## Ranks of the learner

Weights take parameters × 2 bytes, gradients × 4, the optimizer's state × 12 (two moments and the float32 weights). ZeRO 1
divides the optimizer's state by the ranks, ZeRO 2 also the gradients, ZeRO 3 also the weights; it gathers one bucket at a time
for the weight sync. The buffer that reduces gradients holds {REDUCE_BUCKET_SIZE:,} numbers; ZeRO 1 in bfloat16 has none.
Activations take micro-batch × hidden size × layers × 2 bytes, since the backward pass recomputes the rest, and the logits of a
chunk take chunk × vocabulary × 16 bytes. A rollout that is longer than a micro-batch forms one alone, of its own length. The
optimizer's step comes when the activations are freed. It copies gradients under ZeRO 3, {SUB_GROUP_SIZE:,} at a time, and in
float32 under ZeRO 1 and 2; a rank needs the larger of both.
The CUDA context, NCCL and fragmentation take {RANK_OVERHEAD_GIB} GiB. Offloading moves the optimizer's state
(`learner.offload_optimizer`) and the weights (`learner.offload_parameters`) to the CPU's memory, which is not counted here.
After an update the activations are freed, and the gradients too, except under ZeRO 3 and, in bfloat16, ZeRO 1 without
offloading. Engines that share the GPU can use this memory between updates.
"""
SIZING = f"""## Which GPUs for which model

GPUs of {GPU_GIB:.0f} GiB, {NODE_GPUS} per node. Each cell has the fastest settings of the learner that fit. The learner has a
quarter of the GPUs (half if a quarter is too little), and the replicas fill the others. Each engine holds at least
{FEWEST_TEXTS} texts of full length (on one GPU, at least one). In parentheses: the texts of full length that all replicas
generate at the same time; a step of the published run has 128. On one GPU (`mode=local`) engines and learner share it.
"""


def page() -> str:
    """Return the page."""
    runs = {name: _run(name) for name in QWEN3_SHAPES}
    sizes = {name: model_sizes(config) for name, config in runs.items()}
    return "\n".join([HEAD, *_engines(runs, sizes), *_ranks(runs, sizes), *_sizing(runs, sizes), *_plans()])


def _run(name: str) -> Config:
    shape = [f"++model.shape.{key}={value}" for key, value in QWEN3_SHAPES[name].items()]
    return configuration(["+experiment=paper_qwen3_4b", *shape])


def _engines(runs: dict[str, Config], sizes: dict[str, Sizes]) -> Iterator[str]:
    yield ENGINES
    head = ("model", "parameters", "weights", "KV cache of a token, KiB", "KV cache of a full text", "smallest engine")

    def rows() -> Iterator[Sequence[str]]:
        for name, config in runs.items():
            size = sizes[name].senior
            engine = engine_memory(size, config.model.dtype, 1, config.longest_text)
            token = engine_memory(size, config.model.dtype, 1, 1).text * GIB / 1024
            weights = engine.weights - ENGINE_OVERHEAD_GIB
            cells = (f"{weights:.1f}", f"{token:.0f}", f"{engine.text:.2f}", f"{engine.least:.1f}")
            yield (name, f"{size.parameters / 1e9:.2f} billion", *cells)

    yield markdown_table(head, rows())


def _ranks(runs: dict[str, Config], sizes: dict[str, Sizes]) -> Iterator[str]:
    yield RANKS
    splits = ((1, 1), (1, 2), (1, 8), (2, 8), (3, 8), (3, 16))
    names = ("weights", "gradients", "optimizer", "buffers", "activations")

    def rank(name: str, stage: int, ranks: int) -> RankMemory:
        learner = replace(runs[name].learner, zero_stage=stage, ranks=ranks)
        return rank_memory(sizes[name].senior, learner, longest=longest_rollout(runs[name]))

    def rows() -> Iterator[Sequence[str]]:
        for stage, ranks in splits:
            memory = rank("4B", stage, ranks)
            values = (*(getattr(memory, name) for name in names), memory.total, memory.between_updates)
            yield (f"ZeRO {stage}, {ranks} rank{'s' * (ranks > 1)}", *(f"{value:.1f}" for value in values))

    yield "A rank of the 4B model:\n"
    yield markdown_table(("", *names, "total", "between updates"), rows())
    yield "The total of a rank of each model:\n"
    totals = ([name, *(f"{rank(name, *split).total:.1f}" for split in splits)] for name in runs)
    yield markdown_table(["model", *(f"ZeRO {stage}, {ranks}" for stage, ranks in splits)], totals)


def _sizing(runs: dict[str, Config], sizes: dict[str, Sizes]) -> Iterator[str]:
    yield SIZING
    rows = ([name, *(_fitting(config, sizes[name], gpus) for gpus in (1, 8, 64))] for name, config in runs.items())
    yield markdown_table(("model", "1 GPU", "8 GPUs", "64 GPUs"), rows)


def _fitting(config: Config, sizes: Sizes, gpus: int) -> str:
    """Return the settings of the first plan that fits."""
    for changed, plan in _candidates(config, sizes, gpus):
        assert plan.memory is not None and plan.fractions is not None
        engines = plan.memory.engines
        roles = ("senior", *["junior"] * (len(engines) - 1))
        texts = min(engine.texts(plan.fractions.of(role) * GPU_GIB) for role, engine in zip(roles, engines, strict=True))
        texts = min(texts, config.rollout.max_in_flight)
        if texts < (FEWEST_TEXTS if gpus > 1 else 1):
            continue
        changes = " ".join(f"`{setting}`" for setting in _settings(changed))
        return f"{changes or 'the defaults'} ({texts * changed.rollout.replicas})"
    return "does not fit"


def _candidates(config: Config, sizes: Sizes, gpus: int) -> Iterator[tuple[Config, RunPlan]]:
    """Yield the plans that fit, the fastest settings first."""
    layouts = [(1, 1)] if gpus == 1 else [(gpus // part, spread) for part in (4, 2) for spread in (1, 2, 4)]
    for learner in ONE_GPU if gpus == 1 else MANY_GPUS:
        for ranks, spread in layouts:
            sized = replace(
                config,
                learner=replace(config.learner, ranks=ranks, **learner),
                rollout=replace(config.rollout, replicas=1, senior_tensor_parallel=spread, junior_tensor_parallel=spread),
            )
            try:
                if gpus == 1:
                    yield sized, plan_on_machine(sized, Node("", 1, GPU_GIB), sizes)
                else:
                    nodes = [Node("", NODE_GPUS, GPU_GIB)] * (gpus // NODE_GPUS)
                    most = most_replicas(plan_on_cluster(sized, nodes, sizes).demand, nodes)
                    sized = replace(sized, rollout=replace(sized.rollout, replicas=most))
                    yield sized, plan_on_cluster(sized, nodes, sizes)
            except ConfigError:
                continue


def _settings(config: Config) -> Iterator[str]:
    """Yield the settings of `config` for placement and memory that differ from the defaults."""
    rollout, learner, plain = config.rollout, config.learner, Config()
    for key in ("replicas", "senior_tensor_parallel", "junior_tensor_parallel"):
        if (value := getattr(rollout, key)) != getattr(plain.rollout, key) or key == "replicas":
            yield f"rollout.{key}={value}"
    for key in ("ranks", "zero_stage", "offload_optimizer", "offload_parameters"):
        if (value := getattr(learner, key)) != getattr(plain.learner, key) or key == "ranks":
            yield f"learner.{key}={str(value).lower()}"
    if learner.micro_batch_tokens == ONE_GPU[-1]["micro_batch_tokens"]:
        yield f"learner.micro_batch_tokens={learner.micro_batch_tokens}"


def _plans() -> Iterator[str]:
    yield "## Plans of the published run\n"
    yield "The output of each command.\n"
    for given in PLANS:
        overrides = ["+experiment=paper_qwen3_4b", *given.split()]
        terminal = StringIO()
        print_plan(assumed_plan(configuration(overrides)), Console(width=130, file=terminal))
        output = "\n".join(line.rstrip() for line in terminal.getvalue().rstrip().splitlines())
        yield f"```\n$ python launch/train.py {' '.join(overrides)}\n{output}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
