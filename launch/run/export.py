"""The final senior, which must not be lost to a full disk: wait for room, then another folder, and only then a loud end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from launch.storage.atomic_dir import written_aside
from launch.storage.disk import UnwritableError, wait_for_room
from launch.storage.places import senior_fallback
from launch.storage.run_folder import RunFolder
from tandem.config.schema import Config


class Exports(Protocol):
    """A learner, as far as it is exported."""

    def export(self, path: Path) -> None:
        """Write the weights to the folder `path`. Raises `OSError` for what the disk refuses."""
        ...


def export_senior(
    learner: Exports, config: Config, folder: RunFolder, print_line: Callable[[str], None], *, elsewhere: bool = True
) -> Path:
    """Write the learner's weights as the run's senior, and return where they lie.

    Waits for room for `log.export_wait_s`; then, with `elsewhere`, writes to `log.export_fallback`. Raises `UnwritableError`
    where no disk takes them.
    """
    folder.require()
    own, beside = folder.senior, senior_fallback(config) / folder.path.name
    try:
        return wait_for_room(lambda: _export(learner, own), own, "the senior", config.log.export_wait_s, print_line)
    except OSError as error:
        refusal = f"the senior could not be written to {own}: {error}"
    if elsewhere:
        try:
            other = _unused(beside)
            print_line(f"WARNING: {refusal}; it is written to {other} instead")
            return _export(learner, other)
        except OSError as error:
            refusal += f"; nor to {beside} (log.export_fallback): {error}"
    raise UnwritableError(f"{refusal}. {_what_is_left(folder)}")


def _what_is_left(folder: RunFolder) -> str:
    """Return which checkpoint holds the senior, or the last of its steps that are not lost, and how to go on."""
    learned = max((int(row["step"]) for row in folder.rows), default=0)
    kept = folder.checkpoints.complete()
    if not kept:
        return "There is no checkpoint: its weights are lost"
    go_on = f"make room, and start again with resume={folder.path}"
    if kept[0].step < learned:
        return f"The newest checkpoint, {kept[0].path}, is of step {kept[0].step}; {learned} were learned: {go_on}"
    return f"Its weights are in {kept[0].path}: {go_on}"


def _export(learner: Exports, path: Path) -> Path:
    with written_aside(path) as partial:
        learner.export(partial)
    return path


def _unused(path: Path) -> Path:
    """Return `path`, or the first beside it that does not exist: no other run's senior is overwritten."""
    number = 1
    unused = path
    while unused.exists():
        number += 1
        unused = path.with_name(f"{path.name}-{number}")
    return unused
