"""Export of the final senior. On a full disk it waits for room, then tries another folder, and only then raises an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from launch.command_line import resume_command
from launch.storage.disk import UnwritableError, wait_for_room
from launch.storage.places import senior_fallback
from launch.storage.run_folder import RunFolder
from tandem.config.schema import Config
from tandem.runtime.atomic_dir import written_aside


class Exports(Protocol):
    """A learner that can export its senior."""

    def export(self, path: Path) -> None:
        """Write the weights to the folder `path`, as a Hugging Face directory. Raises `OSError` for what the disk refuses."""
        ...


def export_senior(
    learner: Exports, config: Config, folder: RunFolder, print_line: Callable[[str], None], *, elsewhere: bool = True
) -> Path:
    """Write the learner's weights as the run's senior, and return their folder.

    Wait for room for `log.export_wait_s`; then, with `elsewhere`, write to `log.export_fallback`. Raises `UnwritableError` when
    neither can be written.
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
    raise UnwritableError(f"{refusal}. {_describe_checkpoint(folder)}")


def _describe_checkpoint(folder: RunFolder) -> str:
    """Return which checkpoint holds the senior, or its last saved step, and how to resume."""
    last_step = max((int(row["step"]) for row in folder.rows), default=0)
    complete = folder.checkpoints.complete()
    if not complete:
        return "There is no checkpoint: its weights are lost"
    remedy = f"free space, then resume the run: {resume_command(f'resume={folder.path}')}"
    if complete[0].step < last_step:
        newest = f"The newest checkpoint, {complete[0].path}, is of step {complete[0].step}"
        return f"{newest}, and the run reached step {last_step}: {remedy}"
    return f"Its weights are in {complete[0].path}: {remedy}"


def _export(learner: Exports, path: Path) -> Path:
    with written_aside(path) as partial:
        learner.export(partial)
    return path


def _unused(path: Path) -> Path:
    """Return `path`, with a number appended if it exists: no other run's senior is overwritten."""
    number = 1
    unused = path
    while unused.exists():
        number += 1
        unused = path.with_name(f"{path.name}-{number}")
    return unused
