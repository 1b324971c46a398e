"""Read files of JSON that a run, an evaluation or a check has written. A damaged one is refused by its name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from tandem.config.schema import ConfigError
from tandem.runtime.disk import reason

RESTORE = "restore it from a copy, or name another run"
"""The remedy for a damaged file."""
Kind = TypeVar("Kind")


class LogReader:
    """A file of JSON lines, one or more for each step, that may still grow.

    Infinities and NaN, which Python writes although JSON has none, are read as None.
    """

    def __init__(self, path: Path, expected: Callable[[dict[str, Any]], bool] = lambda row: True) -> None:
        self._expected = expected
        self._path, self._read, self._count, self._file_id = path, 0, 0, 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the lines completed since the last call; all lines if the file has been replaced.

        Raises `ConfigError` for an unreadable file and for a line that is not a run's.
        """
        try:
            with self._path.open("rb") as file:
                yield from self._new(file)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self._path}: it cannot be read ({reason(error)}); {RESTORE}") from error

    def _new(self, file: BinaryIO) -> Iterator[dict[str, Any]]:
        status = os.fstat(file.fileno())
        if status.st_size < self._read or status.st_ino != self._file_id:
            self._read, self._count, self._file_id = 0, 0, status.st_ino
        file.seek(self._read)
        for line in file:
            if not line.endswith(b"\n"):
                break
            self._read, self._count = self._read + len(line), self._count + 1
            yield self._parsed(line)

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int | float) or not self._expected(row):
            raise ConfigError(f"{self._path}: line {self._count} is not what a run writes; {RESTORE}")
        return row


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in the JSON file `path`, NaN as None. Raises `ConfigError` when it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: it cannot be read ({reason(error)}); {RESTORE}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: it holds no JSON object; {RESTORE}")
    return content


def read_as(kind: type[Kind], path: Path, remedy: str = RESTORE) -> Kind:
    """Return the content of the JSON file `path` as `kind`.

    Raises `ConfigError`, which ends with `remedy`, when the content has other types, or the file cannot be read.
    """
    (record,) = _typed(kind, path, lambda content: [content], remedy)
    return record


def read_lines_as(kind: type[Kind], path: Path, remedy: str = RESTORE, *, growing: bool = False) -> list[Kind]:
    """Return the content of each line of a file of JSON lines. Raises `ConfigError` as `read_as` does.

    `growing`: whether a run may be writing to it, so that an incomplete last line is left out.
    """

    def lines(content: bytes) -> list[bytes]:
        return (content[: content.rfind(b"\n") + 1] if growing else content).splitlines()

    return _typed(kind, path, lines, remedy)


def _typed(kind: type[Kind], path: Path, split: Callable[[bytes], list[bytes]], remedy: str) -> list[Kind]:
    from pydantic import TypeAdapter, ValidationError  # takes 0.2 seconds

    adapter = TypeAdapter(kind)
    try:
        return [adapter.validate_json(part, strict=True) for part in split(path.read_bytes())]
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read ({reason(error)}); {remedy}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: it is damaged; {remedy}") from error
