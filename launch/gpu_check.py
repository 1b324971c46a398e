"""Run on this machine what tests on CPUs cannot show. `python launch/gpu_check.py [--only STAGE ...] [--again] [--out FOLDER]`.

Each stage is a process with a time limit. Stages that passed are not repeated: after a failure, run the command again. The
results are in FOLDER: results.json, page.md and a log of each stage. Without a GPU, stages that need one are skipped. Exits
with 1 if a stage failed, else with 0.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from launch.entry import exit_codes
from launch.gpu_stages.machine import this_machine
from launch.gpu_stages.page import page, table
from launch.gpu_stages.results import StageResults
from launch.gpu_stages.run import run_stages
from launch.gpu_stages.stages import STAGES
from launch.terminal import terminal_console

OUT = Path("runs") / "gpu-check"


def main(arguments: list[str]) -> int:
    """Run the stages, write and print their results, and return the exit code."""
    parser = argparse.ArgumentParser(prog="gpu_check.py", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[stage.name for stage in STAGES], metavar="STAGE", help="run only these")
    parser.add_argument("--again", action="store_true", help="repeat stages that passed")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="folder of the results (default: %(default)s)")
    options = parser.parse_args(arguments)
    stages = [stage for stage in STAGES if options.only is None or stage.name in options.only]
    console = terminal_console()
    with exit_codes():
        machine = this_machine()
        results = StageResults.read(options.out, machine.facts)
        console.print(
            f"results in {options.out}; time limits of all stages: {sum(stage.limit_s for stage in stages) / 60:.0f} min"
        )
        for name, result in run_stages(stages, machine, results, again=options.again):
            console.print(f"{name}: {result.status} after {result.seconds:.0f} s {result.why}".rstrip())
            results.write()
            (options.out / "page.md").write_text(page(STAGES, results), encoding="utf-8")
        console.print(table(stages, results))
        print(json.dumps(results.as_dict()))
    return 1 if results.failed(stages) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
