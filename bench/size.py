"""Peak memory of a model of real size: one tandem step of a Qwen3-0.6B with random weights on the CPU.

    python -m bench.size --json [--lora 16 [--shared]]

The step is `launch/train.py` itself, with engines in bfloat16 and a learner under ZeRO-3; docs/learner.md has the figures. The
exit code is that of the run.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import torch
from rich.console import Console
from transformers import AutoTokenizer, Qwen3ForCausalLM

from bench.report import Figures, benchmark_parser, print_figures
from launch.cluster.environment import set_environment
from launch.entry import configuration
from launch.text_tables import terminal_table
from tandem.models.qwen3 import qwen3_config
from tandem.models.zoo.base_models import base_model
from tandem.records.json_files import LogReader
from tandem.records.run_record import METRICS
from tandem.runtime.units import GIB

PARAMETERS = 596_049_920
OVERRIDES = [
    "model=hf",
    "model.dtype=bfloat16",
    "learner.dtype=bfloat16",
    "learner.zero_stage=3",
    "steps=1",
    "rollout.prompts_per_step=2",
    "rollout.group_size=4",
    "rollout.max_in_flight=8",
    "rollout.kv_cache_gib=0.5",
    "rollout.sampling.max_tokens=64",
    "eval.sampling.max_tokens=64",
    "eval.problems=2",
    "data.max_prompt_tokens=128",
    "learner.micro_batch_tokens=512",
    "learner.gradient_checkpointing=true",
    "learner.logprob_chunk_tokens=128",
    # With random weights all rewards are 0; this term still has a gradient.
    "algo.lambda_junior=0.1",
    "algo.mini_batches=1",
    "checkpoint.save_every=0",
    "log.export=false",
    "log.tensorboard=false",
    "name=size",
]
REPORTED = ("time/step_s", "grad/norm", "logprob/gap_mean", "weights/published_mib")
"""The metrics of the step that are reported."""
SAMPLING_S = 0.2


def save_random_model(folder: Path) -> None:
    """Write the model to `folder`, in bfloat16, with SmolLM2's tokenizer."""
    config = configuration(["model=smollm2"])
    set_environment(config.cache_path)
    tokenizer = AutoTokenizer.from_pretrained(base_model(config.model, config.cache_path))
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(qwen3_config("0.6B")).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class MemoryWatch:
    """Sampler of the memory of a process and its descendants; shared pages count once."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self.peak_bytes = 0
        self.peak_by_process: dict[str, int] = {}
        """the largest of each kind of process, by name"""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for process in [self._root, *self._root.children(recursive=True)]:
                try:
                    bytes_ = process.memory_full_info().pss  # shared pages are divided among those who map them
                    name = (process.cmdline() or [process.name()])[0].split("/")[-1]
                except psutil.Error:
                    continue  # the process has ended
                total += bytes_
                self.peak_by_process[name] = max(self.peak_by_process.get(name, 0), bytes_)
            self.peak_bytes = max(self.peak_bytes, total)
            time.sleep(SAMPLING_S)

    def stop(self) -> None:
        """Wait for the end of the process."""
        self._thread.join()


def main() -> int:
    """Measure as the command line specifies, and print the figures."""
    parser = benchmark_parser("size", __doc__)
    parser.add_argument("--ranks", type=int, default=1, help="of the learner (default: %(default)s)")
    parser.add_argument(
        "--lora", type=int, default=0, metavar="RANK", help="train an adapter of this rank instead of the model"
    )
    parser.add_argument("--shared", action="store_true", help="send the adapter alone, to one engine that both authors share")
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "qwen3-0.6b-random"
        # In a separate process, so that its memory is freed.
        builder = multiprocessing.get_context("spawn").Process(target=save_random_model, args=(model,))
        builder.start()
        builder.join()
        command = [sys.executable, "launch/train.py", *OVERRIDES, f"model.path={model}", f"log.dir={folder}"]
        start = time.perf_counter()
        command += [f"learner.ranks={options.ranks}", f"learner.lora.rank={options.lora}"]
        command += ["learner.lora.sync=adapter", "rollout.engines=shared"] if options.shared else []
        run = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.getcwd()})
        watch = MemoryWatch(run.pid)
        code = run.wait()
        watch.stop()
        results: Figures = {"parameters": PARAMETERS, "ranks": options.ranks, "lora_rank": options.lora}
        results |= {"shared": options.shared, "exit_code": code}
        rank_bytes = max((peak for name, peak in watch.peak_by_process.items() if name.startswith("ray::Rank")), default=0)
        results |= {"peak_gib": round(watch.peak_bytes / GIB, 2), "rank_peak_gib": round(rank_bytes / GIB, 2)}
        results["run_s"] = round(time.perf_counter() - start, 1)
        if code == 0:
            rows = list(LogReader(Path(folder) / "size" / METRICS).new())
            results |= {key.replace("/", "_"): round(rows[-1][key], 4) for key in REPORTED}
    largest = sorted(watch.peak_by_process.items(), key=lambda item: -item[1])[:8]
    console.print(terminal_table(("process", "peak GiB"), ([name, f"{peak / GIB:.2f}"] for name, peak in largest)))
    print_figures(results, console, as_json=options.json)
    return code


if __name__ == "__main__":
    sys.exit(main())
