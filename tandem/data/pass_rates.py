"""The pass rate of the base model on each problem, in a file of JSON lines that grows as problems are tried."""

from __future__ import annotations

import json
from pathlib import Path

from tandem.config.schema import ConfigError

BEGINNING = b'{"id": "'
"""The beginning of every line, also of an incomplete last one."""


def read_pass_rates(path: Path) -> dict[str, float]:
    """Return the share of correct rollouts by problem id. An incomplete last line is left out.

    Raises `ConfigError` when the file is missing or holds other lines.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"data.pass_rates={path}: there is no such file; write it with launch/difficulty.py")
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(
            f"data.pass_rates={path}: it cannot be read ({error.strerror}); write it with launch/difficulty.py"
        ) from error
    rates = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line.decode())
            id_, solved, rollouts = row["id"], row["solved"], row["rollouts"]
            if not (isinstance(id_, str) and type(solved) is type(rollouts) is int and 0 <= solved <= rollouts):
                raise ValueError("no count of rollouts")
            rates[id_] = solved / rollouts
        except (ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError) as error:
            raise ConfigError(f"data.pass_rates={path}: line {number} is not a pass rate; correct or remove it") from error
    if last[: len(BEGINNING)] != BEGINNING[: len(last)]:
        raise ConfigError(f"data.pass_rates={path}: line {len(lines) + 1} is not a pass rate; correct or remove it")
    return rates


class PassRateFile:
    """The file at `path`, opened to append to; `known` holds the ids of its problems.

    Raises `ConfigError` as `read_pass_rates` does, and when the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.known: set[str] = set(read_pass_rates(path)) if path.is_file() else set()
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab+") as file:
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        except OSError as error:
            raise ConfigError(f"data.pass_rates={path}: it cannot be written ({error.strerror}); name another file") from error

    def add(self, solved: dict[str, int], rollouts: int) -> None:
        """Append a line for each problem of `solved`, which maps ids to the number of correct rollouts out of `rollouts`."""
        with self._path.open("a", encoding="utf-8") as file:
            for id_, count in solved.items():
                file.write(json.dumps({"id": id_, "solved": count, "rollouts": rollouts}) + "\n")
        self.known |= solved.keys()
