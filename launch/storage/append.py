"""Files that a run appends to; a full disk delays writes, but damages no file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tandem.runtime.disk import tolerate_full_disk


class AppendFile:
    """The file at `path`; a piece is appended completely or not at all."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, piece: bytes) -> None:
        """Append `piece`. Raises the disk's `OSError` and then restores the file."""
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
    """A file of JSON lines. While the disk is full, lines wait in memory."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._waiting = path, AppendFile(path), b""

    def append(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Append a line for each row after the waiting lines; return whether all have been written.

        Raises the disk's `OSError` unless the disk is full.
        """
        self._waiting += json_lines(rows)
        return self.flush()

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Replace all lines by one for each row; return whether the disk had room.

        Raises the disk's `OSError` unless the disk is full.
        """
        replaced = False
        with tolerate_full_disk():
            replace_lines(self._path, rows)
            replaced = True
        if replaced:
            self._file.close()
            self._file, self._waiting = AppendFile(self._path), b""
        return replaced

    def flush(self) -> bool:
        """Write the waiting lines; return whether none is left."""
        with tolerate_full_disk():
            self._file.write(self._waiting)
            self._waiting = b""
        return not self._waiting

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def replace_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace the JSON lines in `path` by a rename, so that readers see the old file or the new one."""
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.write_bytes(json_lines(rows))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a line of JSON for each row."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
