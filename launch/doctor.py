"""Says what keeps this machine from training, and how to mend it. `python launch/doctor.py [--quick] [key=value ...]`.

Exits with 0 when nothing is broken and 1 otherwise. The checks take seconds; a run in small follows unless `--quick` leaves it
out, or a check has failed already.
"""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str]) -> int:
    """Examines the machine; the exit code."""
    parser = argparse.ArgumentParser(prog="doctor.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave the run in small out")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, as for launch/train.py")
    given = parser.parse_args(arguments)
    try:
        from launch.diagnosis.diagnosis import diagnose
        from launch.entry import configuration, exit_codes
    except ModuleNotFoundError as error:
        print(
            f"{error.name} is not installed for {sys.executable}: run `make setup`, then `. .venv/bin/activate`",
            file=sys.stderr,
        )
        return 1
    with exit_codes():
        return 0 if diagnose(configuration(given.overrides), quick=given.quick) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
