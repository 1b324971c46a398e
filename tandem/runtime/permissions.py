"""Permissions of files that libraries write."""

from __future__ import annotations

from pathlib import Path


def respect_umask(folder: Path) -> None:
    """Give every file in `folder` the permissions that this process's umask leaves a new file.

    Libraries that write to a temporary file and rename it, as safetensors does, leave files that only their owner can read.
    """
    mode = 0o666 & ~_umask()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


def _umask() -> int:
    """Return this process's umask; `os.umask` would have to change it for a moment, in all threads."""
    (line,) = (line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith("Umask:"))
    return int(line.split()[1], 8)
