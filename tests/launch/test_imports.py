"""What a program imports before it has checked its settings: nothing that takes seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT

HEAVY = ("deepspeed", "matplotlib", "pandas", "ray", "sympy", "torch", "transformers", "vllm")
PROGRAM = """
import runpy, sys
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
print(sorted(set({heavy}) & set(sys.modules)))
"""


@pytest.mark.seconds
@pytest.mark.parametrize(
    "command",
    [
        "train.py mistyped=1",
        "train.py algo.policy_loss=mistyped",
        "train.py --help",
        "train.py --multirun seed=1,2 mistyped=1",
        "evaluate.py mistyped=1",
        "serve.py mistyped=1",
        "write.py role=mistyped",
        "difficulty.py mistyped=1",
        "doctor.py mistyped=1",
        "experiment.py preset=jargon mistyped=1",
        "report.py missing",
        "compare.py missing missing",
        "watch.py missing",
        "text_model.py missing tests",
    ],
)
def test_refusal_and_help_import_nothing_slow(command: str) -> None:
    program = f"import sys; sys.argv = {['launch/' + command.split()[0], *command.split()[1:]]!r}"
    ended = subprocess.run(
        [sys.executable, "-c", program + PROGRAM.format(heavy=HEAVY)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "[]"
