"""When a run writes a checkpoint, and what a full disk costs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from launch.run.export import Exports
from launch.storage.checkpoints import Checkpoint, DriverState
from launch.storage.run_folder import RunFolder
from tandem.config.schema import Config
from tandem.records.step_folders import step_folder
from tandem.runtime.atomic_dir import written_aside
from tandem.runtime.disk import tolerate_full_disk


class Checkpointed(Exports, Protocol):
    """What a checkpoint needs of a learner."""

    def save(self, folder: Path) -> None:
        """Write the learner's state to the empty `folder`."""
        ...

    def checkpointed(self, folder: Path) -> None:
        """Note that `folder` holds the complete state that `save` wrote last."""
        ...


class Checkpointer:
    """Writes the checkpoints of a run; `print_line` shows a line to the user."""

    def __init__(self, config: Config, folder: RunFolder, learner: Checkpointed, print_line: Callable[[str], None]) -> None:
        self._config, self._folder, self._learner, self._print_line = config, folder, learner, print_line

    def save_if_due(self, state: DriverState) -> None:
        """Write a checkpoint of `state` if one is due after its step. A full disk keeps the checkpoints before it."""
        if self._folder.checkpoints.due(state.step, self._config.steps):
            self._save(state, "the run continues. Free space on that disk before the next one is due")

    def save_at_signal(self, state: DriverState) -> None:
        """Write a checkpoint of `state` before SIGTERM ends the run, unless it exists or the configuration forbids it."""
        if self._config.checkpoint.on_signal and self._is_missing(state):
            self._print_line(f"SIGTERM: writing a checkpoint of step {state.step}")
            self._save(state, "the run ends")

    def save_at_end(self, state: DriverState) -> None:
        """Write a checkpoint of `state`, with which the run ends early, unless it exists."""
        if self._is_missing(state):
            self._save(state, "the run ends")

    def _is_missing(self, state: DriverState) -> bool:
        """Whether the run writes checkpoints and has none of `state`."""
        newest = next(iter(self._folder.checkpoints.complete()), None)
        return self._config.checkpoint.save_every > 0 and (newest is None or newest.step != state.step)

    def _save(self, state: DriverState, consequence: str) -> None:
        """Write a checkpoint; if the disk is full, print a warning that ends with `consequence`."""
        checkpoints = self._folder.checkpoints

        def warn(error: OSError) -> None:
            complete = checkpoints.complete()
            self._print_line(
                f"WARNING: step {state.step} could not be saved, because the disk of {self._folder.path} is full "
                f"({error}); {f'{complete[0].path} is kept' if complete else 'there is no checkpoint yet'}, and {consequence}"
            )

        self._folder.require()
        with tolerate_full_disk(warn):
            path = checkpoints.save(state, self._folder.config, self._learner.save)
            self._learner.checkpointed(Checkpoint(path).learner)
            if self._config.checkpoint.export:
                with written_aside(step_folder(self._folder.seniors, state.step)) as partial:
                    self._learner.export(partial)
