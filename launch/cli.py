"""The command `tandem`: `tandem train ...` is `python launch/train.py ...`, and so for the other programs."""

from __future__ import annotations

import runpy
import sys
from difflib import get_close_matches
from pathlib import Path

from tandem.runtime.exit_status import BAD_INPUT

PROGRAMS = {
    "train": "train a senior",
    "evaluate": "measure a senior",
    "serve": "serve a senior and its junior",
    "write": "write texts together with a senior or its junior",
    "experiment": "compare arms over seeds",
    "compare": "compare two evaluations problem by problem",
    "report": "write runs as one HTML file",
    "watch": "show a run while it runs",
    "doctor": "check this machine",
    "gpu-check": "check this machine's GPU, in about ten minutes",
    "text-model": "save the language model of a multimodal model",
    "difficulty": "measure how often the base model solves each problem",
}
COMPLETION = "completion"
"""The argument with which `tandem` prints what a shell needs to complete its command line."""


def main() -> None:
    """Run the program that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        print("usage: tandem PROGRAM [ARGUMENT ...]\n")
        print("\n".join(f"  {program:<12}{about}" for program, about in PROGRAMS.items()))
        print("\n`tandem PROGRAM --help` describes a program.")
        print(f'`eval "$(tandem {COMPLETION})"` lets bash complete what you type.')
        return
    if name == COMPLETION:
        from launch.completion import SCRIPT, choices  # only for this

        print("\n".join(choices(*sys.argv[2:])) if len(sys.argv) == 5 else SCRIPT)
        return
    if name not in PROGRAMS:
        similar = get_close_matches(name, PROGRAMS, n=1)
        remedy = f"did you mean {similar[0]}?" if similar else f"choose {' or '.join(PROGRAMS)}"
        print(f"tandem: {name}: there is no such program; {remedy}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    script = str(Path(__file__).with_name(f"{name.replace('-', '_')}.py"))
    sys.argv = [script, *sys.argv[2:]]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
