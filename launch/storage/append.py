"""Files that a run appends to, which a full disk may delay but does not damage."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tandem.runtime.disk import disk_full


class AppendFile:
    """The file at `path`, to which pieces are appended whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, piece: bytes) -> None:
        """Append `piece`. Raises the disk's `OSError`, after which the file is as it was."""
        size = os.fstat(self._file.fileno()).st_size
        left = memoryview(piece)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            os.ftruncate(self._file.fileno(), size)
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LinesFile:
    """A file of JSON lines. Those for which the disk has no room are kept in memory and written once it has."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._waiting = path, AppendFile(path), b""

    def append(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Append a line for each row, after those that wait; whether all are on the disk.

        Raises the disk's `OSError` unless the disk is full.
        """
        self._waiting += json_lines(rows)
        return self.flush()

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Put a line for each row in place of all lines; whether the disk had room for that.

        Raises the disk's `OSError` unless the disk is full.
        """
        try:
            replace_lines(self._path, rows)
        except OSError as error:
            if not disk_full(error):
                raise
            return False
        self._file.close()
        self._file, self._waiting = AppendFile(self._path), b""
        return True

    def flush(self) -> bool:
        """Write the lines that wait; whether none is left."""
        try:
            self._file.write(self._waiting)
        except OSError as error:
            if not disk_full(error):
                raise
            return False
        self._waiting = b""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def replace_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of JSON lines aside and rename it to `path`, so that readers see the old file or the new one."""
    aside = path.with_name(f"{path.name}.new")
    try:
        aside.write_bytes(json_lines(rows))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a line of JSON for each row."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
