"""Loggers of a run's metrics, turn lengths and samples: TensorBoard and Weights & Biases."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary

from launch.storage.append import AppendFile
from tandem.config.schema import Config
from tandem.records.run_record import TENSORBOARD
from tandem.records.transcript import AUTHOR_COLORS, Transcript

MARKS = {"senior": "🟦", "junior": "🟧"}
"""Each author's mark, for loggers that strip colors from text."""
COLUMNS = ("step", "problem", "verdict", "reward", "advantage")


class Logger(Protocol):
    """A destination for a run's metrics and samples."""

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Log a step's metrics."""

    def histogram(self, step: int, key: str, values: np.ndarray) -> None:
        """Log the distribution of `values` [N]."""

    def samples(self, step: int, key: str, transcripts: Sequence[Transcript]) -> None:
        """Log transcripts with their authors."""

    def close(self) -> None:
        """Write pending data and close the logger."""


class TensorBoard:
    """An event file in a folder. TensorBoard then hides the steps from `first` on in that folder's earlier files.

    Events are written at once in the calling thread, so that the caller can handle the `OSError` of a disk.
    """

    def __init__(self, folder: Path, first: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = AppendFile(folder / name)
        self._records = RecordWriter(self._file)
        self._add(first, file_version="brain.Event:2")
        self._add(first, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        for key, value in row.items():
            self._add(step, summary=summary.scalar(key, value))

    def histogram(self, step: int, key: str, values: np.ndarray) -> None:
        self._add(step, summary=summary.histogram(key, values, bins="auto"))

    def samples(self, step: int, key: str, transcripts: Sequence[Transcript]) -> None:
        self._add(step, summary=summary.text(key, samples_table(transcripts)))

    def close(self) -> None:
        self._file.close()

    def _add(self, step: int, **content: Any) -> None:
        self._records.write(Event(wall_time=time.time(), step=step, **content).SerializeToString())


class WeightsAndBiases:
    """A run in a project of Weights & Biases; with WANDB_MODE=offline it stays in the run folder."""

    def __init__(self, config: Config, folder: Path) -> None:
        import wandb  # optional: `tandem.config.checks` requires it if log.wandb is set

        self._wandb: Any = wandb
        self._run = wandb.init(project=config.log.wandb, name=folder.name, dir=str(folder), config=asdict(config))

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        self._run.log(dict(row), step=step)

    def histogram(self, step: int, key: str, values: np.ndarray) -> None:
        self._run.log({key: self._wandb.Histogram(values)}, step=step)

    def samples(self, step: int, key: str, transcripts: Sequence[Transcript]) -> None:
        self._run.log({key: self._wandb.Html(samples_table(transcripts), inject=False)}, step=step)

    def close(self) -> None:
        self._run.finish()


def loggers(config: Config, folder: Path, first: int) -> list[Logger]:
    """Return the configured loggers of the run in `folder` whose next step is `first`."""
    chosen: list[Logger] = [TensorBoard(folder / TENSORBOARD, first)] if config.log.tensorboard else []
    return [*chosen, WeightsAndBiases(config, folder)] if config.log.wandb else chosen


def samples_table(transcripts: Sequence[Transcript]) -> str:
    """Return an HTML table of transcripts with marks and colors for the authors; the models' text is escaped."""
    head = "".join(f"<th>{column}</th>" for column in (*COLUMNS, "🟦 senior 🟧 junior"))
    rows = "".join(
        f"<tr>{''.join(f'<td>{_cell(sample.get(column))}</td>' for column in COLUMNS)}<td>{_words(sample)}</td></tr>"
        for sample in transcripts
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(value: Any) -> str:
    return "" if value is None else escape(f"{value:.3g}" if isinstance(value, float) else str(value))


def _words(sample: Transcript) -> str:
    return " ".join(
        f'{MARKS[turn["author"]]} <span style="color:{AUTHOR_COLORS[turn["author"]]}">{_lines(turn["text"])}</span>'
        for turn in sample["turns"]
    )


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")
