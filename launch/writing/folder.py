"""The folder of texts that a person and a model wrote, which launch/report.py shows like a run's."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from transformers import PreTrainedTokenizerBase

from launch.storage.append import LinesFile
from launch.storage.owner import owned
from launch.storage.places import dated_name, named_folder
from tandem.config.schema import Config, ConfigError
from tandem.records.run_record import METRICS, SAMPLES, is_run, write_config
from tandem.records.transcript import transcript
from tandem.rollout import AUTHOR_NAMES, Group


class WritingFolder:
    """The folder NAME in the folder of runs, by default named by date and time. It is created with the first text.

    Raises `ConfigError` when it holds a run or other texts.
    """

    def __init__(self, config: Config) -> None:
        name = config.name or dated_name("writing")
        self._config, self._key = config, f"name={name}"
        self.path = named_folder(config, name)
        if is_run(self.path):
            raise ConfigError(f"{self._key}: {self.path} holds a run, or other texts; choose another name")
        self.texts = 0
        """the number of texts that are kept"""
        self._stack = ExitStack()
        self._files: tuple[LinesFile, LinesFile] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt) and self.texts:
            error.args = (f"after {self.texts} texts. Show them: python launch/report.py {self.path}",)
        self._stack.close()

    def keep(self, group: Group, person: int, tokenizer: PreTrainedTokenizerBase) -> bool:
        """Append the one judged rollout of `group` and its measures; return whether the disk had room for all.

        Raises the disk's `OSError` unless it is full.
        """
        samples, metrics = self._files or self._create()
        self.texts += 1
        (rollout,), (judgement,) = group.rollouts, group.judgements
        sample = transcript(self.texts, group, 0, tokenizer, held_out=True)
        breaks = [] if rollout.breaks is None else np.flatnonzero(rollout.breaks).tolist()
        stored = samples.append([sample | {"person": AUTHOR_NAMES[person], "seed": rollout.seed, "breaks": breaks}])
        row = {
            "step": self.texts,
            "writing/score": judgement.score,
            "writing/tokens": len(rollout),
            "writing/handoffs": rollout.handoffs,
            "writing/person_share": float(np.mean(rollout.authorship == person)),
        }
        return metrics.append([row]) and stored

    def _create(self) -> tuple[LinesFile, LinesFile]:
        self._stack.enter_context(owned(self.path, self._key))
        write_config(self._config, self.path)
        files = LinesFile(self.path / SAMPLES), LinesFile(self.path / METRICS)
        for file in files:
            self._stack.callback(file.close)
        self._files = files
        return files
