"""Show a run in the terminal while it runs, from its folder.

python launch/watch.py runs/NAME [--once]

Ends after the run's last step, or at Ctrl-C; neither affects the run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from launch.entry import Terminated, exit_codes
from launch.live_view.view import view, watch
from launch.live_view.watched_run import WatchedRun
from launch.terminal import terminal_console
from tandem.config.schema import ConfigError


def main() -> None:
    """Watch the run that the command line names; exit with 2 and a message when there is none."""
    parser = argparse.ArgumentParser(prog="launch/watch.py", description="The live view of a run, from its folder.")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, runs/NAME")
    parser.add_argument("--once", action="store_true", help="print the current state and exit")
    arguments = parser.parse_args()
    console = terminal_console()
    with exit_codes():
        try:
            run = WatchedRun(arguments.run)
            if arguments.once:
                run.refresh()
                console.print(view(run))
            else:
                watch(run, console)
        except OSError as error:  # a path that cannot be looked up
            raise ConfigError(f"{arguments.run}: {error.strerror}; name a run folder, such as runs/NAME") from error
        except Terminated:
            raise
        except KeyboardInterrupt:
            pass  # how a user ends it


if __name__ == "__main__":
    main()
