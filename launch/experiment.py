"""Compare arms over seeds: `python launch/experiment.py preset=NAME [seeds=3] [arms=tandem,grpo] [key=value ...]`.

The presets are the files of conf/experiment_preset/; other keys are those of launch/train.py and hold for every
run. A repeated command resumes an interrupted experiment; plan_only=true only shows what would run. See docs/experiments.md.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

from launch.config_file import with_config_files
from launch.entry import exit_codes, use_cache
from launch.experiments.preset import MOST_SEEDS, parse_experiment, preset_titles
from launch.help import Program, asks_for_help, print_help
from launch.status import importing
from launch.storage.owner import owned
from launch.terminal import terminal_console


def about() -> Program:
    """Return the help of this program."""
    return Program(
        file="launch/experiment.py",
        about="Train the arms of a preset over seeds, evaluate their seniors, and write tables, a figure and verdicts.",
        common=("steps", "plan_only", "log.dir", "cache_dir"),
        examples=(
            "preset=equal_dialects seeds=8",
            "preset=jargon seeds=2 arms=tandem,grpo,grpo_g16 name=groups steps=100",
            "preset=paper plan_only=true cluster.gpus=8",
        ),
        options=(),
        own=(
            (
                "Arguments; any other is a setting or group of launch/train.py, for every run and evaluation",
                {
                    "preset=NAME": "the comparison: see below",
                    "seeds=3": f"how many, from 1 to {MOST_SEEDS}",
                    "arms=": "some of the preset's arms, or files of conf/algo/, separated by commas; default: the preset's",
                    "name=": "of the experiment's folder and results; default: the preset's",
                    "results=docs/results": "the folder for the results",
                },
            ),
            ("Presets: the files of conf/experiment_preset/", preset_titles()),
        ),
    )


if __name__ == "__main__":
    with exit_codes():
        if asks_for_help(sys.argv[1:]):
            print_help(about(), sys.argv[1:])
            sys.exit()
        compared = parse_experiment(with_config_files(sys.argv[1:]))
        planned = compared.runs[0].config.plan_only
        with nullcontext() if planned else importing():
            from launch.experiments.comparison import run_experiment, show_experiment

        if planned:
            show_experiment(compared, terminal_console())
            sys.exit()
        use_cache(compared.runs[0].config)
        with owned(compared.folder, f"name={compared.name}"):
            run_experiment(compared, terminal_console())
