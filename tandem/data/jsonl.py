"""Files of JSON lines, read line by line: no more than one line is ever in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from tandem.config import ConfigError


class JsonLines:
    """The rows of the file at `path`, which the setting `key` names; blank lines are skipped. The place of a row is the byte
    where its line begins.

    Raises `ConfigError` when there is no such file.
    """

    unit = "line"

    def __init__(self, path: str, key: str) -> None:
        if not path:
            raise ConfigError(f"{key} is empty: name a file with one JSON object a line")
        if not Path(path).is_file():
            raise ConfigError(f"{key}={path}: there is no such file; name a file with one JSON object a line")
        self.key = f"{key}={path}"
        self._path = path

    def scan(self) -> Iterator[tuple[int, int, bytes]]:
        """See `Rows`."""
        with open(self._path, "rb") as file:
            place = 0
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, place, line
                place += len(line)

    def at(self, place: int) -> bytes:
        """See `Rows`."""
        with open(self._path, "rb") as file:
            file.seek(place)
            return file.readline()

    def record(self, stored: bytes) -> dict[str, object]:
        """See `Rows`."""
        try:
            record = json.loads(stored.rstrip(), parse_constant=_refuse)
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 (byte {error.start})") from error
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from error
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        if not isinstance(record, dict):
            raise ValueError(f"not a JSON object but {type(record).__name__}")
        return record


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"not JSON ({constant} is no number)")
