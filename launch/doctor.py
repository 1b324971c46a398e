"""Report what prevents training on this machine, and the remedy. `python launch/doctor.py [--quick] [key=value ...]`.

Exits with 0 if no check is broken, else with 1. The checks take seconds; a short run follows unless `--quick` is given or a
check is broken.
"""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str]) -> int:
    """Check the machine and return the exit code."""
    parser = argparse.ArgumentParser(prog="doctor.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="skip the short run")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, as for launch/train.py")
    options = parser.parse_args(arguments)
    try:
        from launch.entry import configuration, exit_codes

        with exit_codes():
            config = configuration(options.overrides)
        from launch.diagnosis.diagnosis import diagnose  # imports torch and Ray, which takes seconds
    except ModuleNotFoundError as error:
        print(
            f"{error.name} is not installed for {sys.executable}: run `make setup`, then `. .venv/bin/activate`",
            file=sys.stderr,
        )
        return 1
    with exit_codes():
        return 0 if diagnose(config, quick=options.quick) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
