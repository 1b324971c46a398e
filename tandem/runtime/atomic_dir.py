"""Folders that appear complete or not at all, with checksums that detect changed bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tandem.runtime.permissions import respect_umask

MANIFEST = "manifest.json"
PARTIAL = ".partial"
"""The suffix of an unfinished folder."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield an empty folder, which replaces `path` after the block and once its files are synced to disk.

    An error removes the folder and leaves `path` unchanged.
    """
    partial = path.with_name(path.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        respect_umask(partial)
        for written in [*partial.rglob("*"), partial]:
            _sync(written)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(folder: Path) -> None:
    """Write the manifest of `folder`: size and checksum of every file."""
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {name: [(folder / name).stat().st_size, checksum] for name, checksum in _checksums(folder, names).items()}
    (folder / MANIFEST).write_text(json.dumps({"files": files, "checksum": _of_manifest(files)}, indent=1), encoding="utf-8")


def find_corruption(folder: Path, *, contents: bool = True) -> str | None:
    """Return the first missing or changed file of a sealed folder, described; None if the folder is intact.

    `contents`: whether to read the files, which takes long where they are large, and not only their sizes.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files, checksum = manifest["files"], manifest["checksum"]
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} cannot be read"
    if checksum != _of_manifest(files):
        return f"{MANIFEST} has another checksum"
    for name, (size, _) in files.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if (actual := (folder / name).stat().st_size) != size:
            return f"{name} has {actual} bytes instead of {size}"
    if not contents:
        return None
    broken = [name for name, checksum in _checksums(folder, list(files)).items() if checksum != files[name][1]]
    return f"{broken[0]} has another checksum" if broken else None


def _of_manifest(files: object) -> str:
    return hashlib.blake2b(json.dumps(files).encode(), digest_size=16).hexdigest()


def _checksums(folder: Path, names: list[str]) -> dict[str, str]:
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(lambda name: _checksum(folder / name), names), strict=True))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
