"""Compare arms over seeds: `python launch/experiment.py preset=NAME [seeds=3] [arms=tandem,grpo] [key=value ...]`.

The presets are the files of conf/experiment_preset/; other keys are those of launch/train.py and hold for every
run. A repeated command resumes an interrupted experiment; plan_only=true only shows what would run. See docs/experiments.md.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

from launch.config_file import with_config_files
from launch.entry import exit_codes, use_cache
from launch.experiments.preset import PRESETS, experiment
from launch.help import asks_for_help
from launch.status import IMPORTS, status
from launch.storage.owner import owned
from launch.terminal import terminal_console

if __name__ == "__main__":
    with exit_codes():
        if asks_for_help(sys.argv[1:]):
            print(f"{__doc__}\nPresets: {', '.join(sorted(path.stem for path in PRESETS.glob('*.yaml')))}")
            sys.exit()
        compared = experiment(with_config_files(sys.argv[1:]))
        planned = compared.runs[0].config.plan_only
        with nullcontext() if planned else status("Importing torch and Ray", IMPORTS):
            from launch.experiments.comparison import compare, show

        if planned:
            show(compared, terminal_console())
            sys.exit()
        use_cache(compared.runs[0].config)
        with owned(compared.folder, f"name={compared.name}"):
            compare(compared, terminal_console())
