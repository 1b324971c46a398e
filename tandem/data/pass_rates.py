"""How often the base model solves each problem: a file of JSON lines that grows as problems are tried."""

from __future__ import annotations

import json
from pathlib import Path

from tandem.config import ConfigError


def read_pass_rates(path: Path, key: str = "data.pass_rates") -> dict[str, float]:
    """The share of solved rollouts by problem id. A last line that was cut short is left out.

    Raises `ConfigError` when there is no such file or it holds other lines.
    """
    if not path.is_file():
        raise ConfigError(f"{key}={path}: there is no such file; write it with launch/difficulty.py")
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    rates = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            rates[row["id"]] = row["solved"] / row["rollouts"]
        except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise ConfigError(f"{key}={path}: line {number} is no pass rate; correct or remove it") from error
    return rates


class PassRateFile:
    """The file at `path`, to go on with; `known` are the problems it holds. Raises `ConfigError` as `read_pass_rates` does."""

    def __init__(self, path: Path) -> None:
        self.known: set[str] = set()
        if path.exists():
            self.known = set(read_pass_rates(path))
            whole = path.read_bytes()
            path.write_bytes(whole[: whole.rfind(b"\n") + 1])
        self._path = path

    def add(self, solved: dict[str, int], rollouts: int) -> None:
        """Appends how many of each problem's `rollouts` were correct, by its id."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            for id_, count in solved.items():
                file.write(json.dumps({"id": id_, "solved": count, "rollouts": rollouts}) + "\n")
        self.known |= solved.keys()
