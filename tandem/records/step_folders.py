"""Folders that are named after a training step, such as checkpoints/step-000020/."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_NAME = re.compile(r"step-(\d+)")


def step_folder(parent: Path, step: int) -> Path:
    """Return the folder of `step` in `parent`."""
    return parent / f"step-{step:06d}"


def step_of(path: Path) -> int | None:
    """Return the step that `path` is named after; None if it has another name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def step_folders(parent: Path) -> dict[int, Path]:
    """Return the folders of steps in `parent` by step, in order; empty if there is no `parent`."""
    folders = {step: path for path in parent.glob("*") if (step := step_of(path)) is not None}
    return dict(sorted(folders.items()))


def remove_steps_after(parent: Path, step: int) -> None:
    """Remove the folders of the steps after `step` in `parent`."""
    for later, path in step_folders(parent).items():
        if later > step:
            shutil.rmtree(path)
