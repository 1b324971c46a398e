"""The learner's state on disk: DeepSpeed's checkpoint, which is converted to the universal format when the layout changes.

It holds the weights that learn, their float32 masters and the optimizer's moments. Random numbers of an update follow from the
seed. The optimizer's settings always come from the configuration.
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

from tandem.config.learner import LearnerConfig
from tandem.runtime.disk import disk_failure

TAG = "state"
"""DeepSpeed's name of the checkpoint inside a folder."""
UNIVERSAL = ".universal"
"""Suffix of the converted copy, which exists beside the checkpoint while it is loaded."""


@dataclass(frozen=True)
class Layout:
    """How a learner is spread over ranks. It determines which files the learner writes and can read."""

    ranks: int
    zero_stage: int
    dtype: str

    @classmethod
    def of(cls, config: LearnerConfig) -> Layout:
        """Return the layout that `config` sets."""
        return cls(config.ranks, config.zero_stage, config.parameter_dtype)

    def reads(self, saved: Layout) -> bool:
        """Whether DeepSpeed loads a checkpoint of layout `saved` unconverted. Without ZeRO every rank has the whole state."""
        return saved == self or saved.zero_stage == self.zero_stage == 0


def saved_layout(folder: Path) -> Layout:
    """Return the layout of the learner that wrote `folder`."""
    return Layout(**json.loads((folder / "layout.json").read_text(encoding="utf-8")))


class DeferringCheckpointEngine(TorchCheckpointEngine):
    """Writes DeepSpeed's files and keeps an error of the disk in `failure` instead of raising it.

    A rank that raised alone would leave the others in a collective forever.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failure: OSError | None = None

    def save(self, state_dict: Mapping[str, Any], path: str | Path) -> None:
        """Write one file, or keep the disk's error."""
        try:
            with open(path, "wb") as file:
                torch.save(state_dict, file)
        except (OSError, RuntimeError) as error:
            self.failure = disk_failure(error)
            if self.failure is None:
                raise


def save(engine: DeepSpeedEngine, layout: Layout, folder: Path, counts: Mapping[str, int]) -> OSError | None:
    """Write the learner's state and `counts` into the existing `folder`. Return the disk's error, if any. Collective."""
    files = engine.checkpoint_engine = DeferringCheckpointEngine()
    # DeepSpeed would add a script to the checkpoint between two collectives, where an error of the disk is raised.
    engine._copy_recovery_script = lambda path: None
    engine.save_checkpoint(
        str(folder), tag=TAG, client_state={"counts": dict(counts)}, save_latest=False, exclude_frozen_parameters=True
    )
    rank = dist.get_rank()
    if rank == 0 and files.failure is None:
        try:
            (folder / "layout.json").write_text(json.dumps(asdict(layout)), encoding="utf-8")
        except OSError as error:
            return error
    return files.failure


def load(engine: DeepSpeedEngine, optimizer: torch.optim.Optimizer, config: LearnerConfig, folder: Path) -> dict[str, int]:
    """Restore the learner's state from `folder` into a new engine and return the counts. Collective.

    If the layout differs, the engine must have been built for the universal format (see `learner.zero.build_engine`).
    """
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    source = folder
    if universal := not Layout.of(config).reads(saved_layout(folder)):
        source = folder.parent.with_name(folder.parent.name + UNIVERSAL)
        if dist.get_rank() == 0:
            convert(folder / TAG, source / TAG)
        dist.barrier()
    loaded, others = engine.load_checkpoint(str(source), tag=TAG, load_module_strict=not config.lora.rank)
    assert loaded, f"DeepSpeed found nothing to load in {source}"
    for state in optimizer.state.values():
        # After conversion to ZeRO-3, all parameter groups share one step tensor.
        state["step"] = state["step"].clone()
    # DeepSpeed restores the checkpoint's settings, under ZeRO-3 those of the first parameter group for all groups.
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
    """Convert the checkpoint in `saved` to the universal format in `universal`, which any number of ranks loads."""
    shutil.rmtree(universal, ignore_errors=True)
    # The arguments of its command line: no subprocesses, and the state that ZeRO 1 and 2 do not write is added.
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
