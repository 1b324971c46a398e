"""The learner's state on disk: DeepSpeed's own checkpoint, which another number of ranks or ZeRO stage reads by way of the
universal format.

What is saved are the weights, their float32 masters and the optimizer's moments: an update draws nothing at random
that the seed does not determine. The learning rate and what else the configuration says of the optimizer is always the
configuration's.
"""

from __future__ import annotations

import json
import os
import shutil
from argparse import Namespace
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.checkpoint import ds_to_universal
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine
from deepspeed.runtime.engine import DeepSpeedEngine

from tandem.config.schema import LearnerConfig
from tandem.runtime.disk import disk_failure

TAG = "state"
"""DeepSpeed's name for what it keeps in a folder."""
UNIVERSAL = ".universal"
"""What a converted copy's name ends with; it lies beside the checkpoint's folder while it is loaded."""


@dataclass(frozen=True)
class Layout:
    """How a learner is spread over ranks, which decides what files it writes and can read."""

    ranks: int
    zero_stage: int
    dtype: str

    @classmethod
    def of(cls, config: LearnerConfig) -> Layout:
        """The one that `config` asks for."""
        return cls(config.ranks, config.zero_stage, config.dtype)

    def reads(self, saved: Layout) -> bool:
        """Whether DeepSpeed loads what was saved as `saved` without converting it; without ZeRO every rank has everything."""
        return saved == self or saved.zero_stage == self.zero_stage == 0


def saved_layout(folder: Path) -> Layout:
    """The layout of the learner that wrote `folder`."""
    return Layout(**json.loads((folder / "layout.json").read_text(encoding="utf-8")))


class Files(TorchCheckpointEngine):
    """Writes DeepSpeed's files.

    A rank that failed on its own would leave the others in a collective for ever: what the disk refuses is kept as `failure`,
    and all ranks go on to the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failure: OSError | None = None

    def save(self, state_dict: Mapping[str, Any], path: str | Path) -> None:
        """Writes one file, or keeps why that failed."""
        try:
            with open(path, "wb") as file:
                torch.save(state_dict, file)
        except (OSError, RuntimeError) as error:
            self.failure = disk_failure(error)
            if self.failure is None:
                raise


def save(engine: DeepSpeedEngine, layout: Layout, folder: Path, counts: Mapping[str, int]) -> OSError | None:
    """Writes the learner's state, and `counts`, into the existing `folder`; what the disk refused, if it did.

    All ranks must call it.
    """
    files = engine.checkpoint_engine = Files()
    # It would add scripts to the checkpoint, between two collectives and without asking `Files`.
    engine._copy_recovery_script = lambda path: None
    engine.save_checkpoint(str(folder), tag=TAG, client_state={"counts": dict(counts)}, save_latest=False)
    rank = dist.get_rank()
    if rank == 0 and files.failure is None:
        try:
            (folder / "layout.json").write_text(json.dumps(asdict(layout)), encoding="utf-8")
        except OSError as error:
            return error
    return files.failure


def load(engine: DeepSpeedEngine, optimizer: torch.optim.Optimizer, config: LearnerConfig, folder: Path) -> dict[str, int]:
    """Restores the learner's state from `folder` into a new engine and returns the counts. All ranks must call it.

    The engine must have been built for the universal format if the layout is another (see `learner.zero.build_engine`).
    """
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    source = folder
    if universal := not Layout.of(config).reads(saved_layout(folder)):
        source = folder.parent.with_name(folder.parent.name + UNIVERSAL)
        if dist.get_rank() == 0:
            convert(folder / TAG, source / TAG)
        dist.barrier()
    loaded, others = engine.load_checkpoint(str(source), tag=TAG)
    assert loaded, f"DeepSpeed found nothing to load in {source}"
    for state in optimizer.state.values():
        # Converted to ZeRO-3, all groups of parameters would count their steps in one tensor.
        state["step"] = state["step"].clone()
    # DeepSpeed restores the checkpoint's, and under ZeRO-3 those of the first group of parameters for all.
    for group, ours in zip(optimizer.param_groups, settings, strict=True):
        group.update(ours)
    if config.zero_stage:
        engine.optimizer.clip_grad = config.grad_clip
    dist.barrier()
    if universal and dist.get_rank() == 0:
        shutil.rmtree(source)
    counts: dict[str, int] = others["counts"]
    return counts


def convert(saved: Path, universal: Path) -> None:
    """Writes what DeepSpeed saved in `saved` to `universal`, in the format that any number of ranks loads."""
    shutil.rmtree(universal, ignore_errors=True)
    # What its command line would pass on: in this process, and with the state that ZeRO 1 and 2 do not write.
    arguments = Namespace(
        input_folder=str(saved),
        output_folder=str(universal),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        ds_to_universal.main(arguments)
