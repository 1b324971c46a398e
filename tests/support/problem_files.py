"""Small datasets on disk for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.problems import load_problems

SUMS = [{"question": f"What is {i} + 1?", "answer": i + 1} for i in range(40)]
"""Forty valid rows with numeric answers."""


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def jsonl(path: Path, **fields: object) -> DataConfig:
    return DataConfig(source="jsonl", path=str(path), **fields)  # type: ignore[arg-type]


def refusal(data: DataConfig) -> str:
    """Return the error that says why the problems of `data` cannot be loaded."""
    with pytest.raises(ConfigError) as caught:
        load_problems(data, 1)
    return str(caught.value)


@contextmanager
def arrow_cache(folder: Path) -> Iterator[None]:
    """Let `datasets` cache converted data in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", str(folder))
        yield
