"""Where a run's metrics, turn lengths and samples can be watched by others: TensorBoard and Weights & Biases."""

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
from launch.storage.transcript import Transcript
from tandem.config.schema import Config

MARKS = {"senior": ("🟦", "#0072B2"), "junior": ("🟧", "#B26B00")}
"""Each author's mark, for boards that strip colours from text, and colour (after Okabe and Ito: unlike for everybody)."""
COLUMNS = ("step", "problem", "verdict", "reward", "advantage")


class Board(Protocol):
    """Something that shows a run."""

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Shows one step's metrics."""

    def histogram(self, step: int, key: str, values: np.ndarray) -> None:
        """Shows how `values` [N] are distributed."""

    def samples(self, step: int, key: str, transcripts: Sequence[Transcript]) -> None:
        """Shows who wrote what."""

    def close(self) -> None:
        """Writes what is not yet written."""


class TensorBoard:
    """An event file in a folder; what others there hold of step `first` and later is hidden.

    Events are written at once, in the calling thread, so that a refusal of the disk is an `OSError` where it can be handled.
    """

    def __init__(self, folder: Path, first: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Files are read in the order of their names.
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
    """A run in a project of Weights & Biases; WANDB_MODE=offline keeps it in the run folder."""

    def __init__(self, config: Config, folder: Path) -> None:
        import wandb  # no dependency: `tandem.config.checks` has made sure that it is there

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


def boards(config: Config, folder: Path, first: int) -> list[Board]:
    """The boards that `config` asks for, for the run that is kept in `folder` and goes on with step `first`."""
    chosen: list[Board] = [TensorBoard(folder / "tensorboard", first)] if config.log.tensorboard else []
    return [*chosen, WeightsAndBiases(config, folder)] if config.log.wandb else chosen


def samples_table(transcripts: Sequence[Transcript]) -> str:
    """An HTML table of transcripts, the authors' words in two colours and marked; what models wrote is escaped."""
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
        f'{mark} <span style="color:{colour}">{_lines(turn["text"])}</span>'
        for turn in sample["turns"]
        for mark, colour in [MARKS[turn["author"]]]
    )


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")
