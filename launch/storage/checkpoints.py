"""The checkpoints of a run: written to a temporary folder, sealed with checksums and renamed when complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from launch.packages import recorded_versions
from tandem.config.run import CheckpointConfig
from tandem.records.run_record import CONFIG
from tandem.records.step_folders import step_folder, step_folders, step_of
from tandem.runtime.atomic_dir import PARTIAL, seal, written_aside
from tandem.staleness import StreamPosition

SET_ASIDE = ".set-aside"
"""The suffix of a checkpoint after the step from which its run was resumed."""


@dataclass(frozen=True)
class DriverState:
    """The driver's state. The prompts and seeds of later steps follow from it and the configured seed."""

    step: int
    """the training step after which it was written: also the version of the weights"""
    stream_position: StreamPosition
    """in the stream of problems"""
    packages: dict[str, str] = field(default_factory=recorded_versions)
    """the versions of the packages that computed it"""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: runs/NAME/checkpoints/step-000020/ with state.json, config.yaml, learner/ and manifest.json."""

    path: Path

    @property
    def step(self) -> int:
        """The training step after which it was written."""
        step = step_of(self.path)
        assert step is not None
        return step

    @property
    def learner(self) -> Path:
        """The folder that `LearnerGroup.save` wrote."""
        return self.path / "learner"

    @property
    def run(self) -> Path:
        """The folder of the run that wrote it."""
        return self.path.parent.parent

    def state(self) -> DriverState:
        """Return the driver's state."""
        fields = json.loads((self.path / "state.json").read_text(encoding="utf-8"))
        return DriverState(**fields | {"stream_position": StreamPosition(*fields["stream_position"])})


class Checkpoints:
    """The folder runs/NAME/checkpoints/, which keeps the last `config.keep_last` checkpoints."""

    def __init__(self, path: Path, config: CheckpointConfig) -> None:
        self.path, self._config = path, config

    def due(self, step: int, last: int) -> bool:
        """Whether a run with `last` steps writes a checkpoint after `step`."""
        every = self._config.save_every
        return bool(every) and (step % every == 0 or step == last)

    def save(self, state: DriverState, settings: Path, save_learner: Callable[[Path], None]) -> Path:
        """Write a checkpoint with the configuration file `settings` and the files that `save_learner` writes to a folder;
        then remove old checkpoints. A disk error raises `OSError`, removes the new checkpoint and keeps the old ones.
        """
        path = step_folder(self.path, state.step)
        with written_aside(path) as partial:
            (partial / "learner").mkdir()
            save_learner(partial / "learner")
            (partial / "state.json").write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
            shutil.copy(settings, partial / CONFIG)
            seal(partial)
        self._remove_old(state.step)
        return path

    def complete(self) -> list[Checkpoint]:
        """Return the complete checkpoints, newest first."""
        return [Checkpoint(path) for path in reversed(step_folders(self.path).values())]

    def partial(self) -> list[Path]:
        """Return the incomplete checkpoints of a run that ended during a write."""
        return sorted(self.path.glob(f"*{PARTIAL}"))

    def remove_after(self, step: int) -> None:
        """Rename the checkpoints of later steps, so that a run resumed after `step` does not use them."""
        for checkpoint in self.complete():
            if checkpoint.step > step:
                aside = checkpoint.path.with_name(checkpoint.path.name + SET_ASIDE)
                shutil.rmtree(aside, ignore_errors=True)
                checkpoint.path.rename(aside)

    def _remove_old(self, step: int) -> None:
        old = [checkpoint.path for checkpoint in self.complete()[self._config.keep_last :]] if self._config.keep_last else []
        # Incomplete or renamed checkpoints of an earlier attempt, up to this step.
        leftovers = [path for path in self.path.glob("*.*") if step_of(path.with_suffix("")) in range(step + 1)]
        for path in old + leftovers:
            shutil.rmtree(path)
