"""Measure a senior: `python launch/evaluate.py senior=runs/NAME eval=full [key=value ...]`.

docs/evaluation.md describes the measures.
"""

from __future__ import annotations

from launch.entry import main
from launch.evaluation.evaluate import evaluate
from launch.evaluation.measured_run import settings_of_run

if __name__ == "__main__":
    main(evaluate, settings_of_run)
