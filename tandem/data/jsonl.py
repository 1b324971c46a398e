"""Files of JSON lines, read one line at a time."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterator
from typing import NoReturn

from tandem.config.data import DataConfig
from tandem.data.fields import Numeral
from tandem.data.file_kinds import check_kind


class JsonLines:
    """The rows of the file at `path`, which the setting `key` names. The place of a row is the offset of its line in bytes.

    Raises `ConfigError` when the file is missing or of another kind.
    """

    unit = "line"

    def __init__(self, path: str, key: str, data: DataConfig) -> None:
        check_kind(path, key, data)
        self.key = f"{key}={path}"
        self._path = path

    def fingerprint(self) -> str:
        """Return a hash of the file's bytes."""
        with open(self._path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()

    def scan(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield number (from 1), offset and bytes of every line that is not blank."""
        with open(self._path, "rb") as file:
            place = 0
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, place, line
                place += len(line)

    def at(self, place: int) -> bytes:
        """Return the line at byte offset `place`."""
        with open(self._path, "rb") as file:
            file.seek(place)
            return file.readline()

    def record(self, stored: bytes) -> dict[str, object]:
        """Return the JSON object on a line. Raises `ValueError` when the line is malformed."""
        return read_object(stored)


def read_object(line: bytes) -> dict[str, object]:
    """Return the JSON object on a line. Numbers become `Numeral`, because a float cannot hold every number of JSON.

    Raises `ValueError` with the reason when the line is malformed.
    """
    try:
        # Decoded here, because `json.loads` guesses an encoding for bytes.
        text = line.removeprefix(codecs.BOM_UTF8).decode().rstrip()
        record = json.loads(text, parse_float=Numeral, parse_int=Numeral, parse_constant=_refuse, object_pairs_hook=_fields)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError(f"not a JSON object but {_name(record)}")
    return record


def _fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"field {next(name for name in names if names.count(name) > 1)!r} occurs twice in one object")
    return fields


def _name(value: object) -> str:
    return "a number" if isinstance(value, Numeral) else type(value).__name__


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"not JSON ({constant} is no number)")
