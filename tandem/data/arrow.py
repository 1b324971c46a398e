"""Parquet files and data sets of the hub, through `datasets`: their rows are mapped from disk, not read into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tandem.config import ConfigError, DataConfig

if TYPE_CHECKING:
    from datasets import Dataset


class ArrowRows:
    """The rows of `dataset`, which the setting `key` names; the place of a row is its index.

    Raises `ConfigError` when it lacks the question's or the answer's column.
    """

    unit = "row"

    def __init__(self, dataset: Dataset, key: str, data: DataConfig) -> None:
        for name in ("question_field", "answer_field"):
            if (column := getattr(data, name)) not in dataset.column_names:
                there = ", ".join(dataset.column_names)
                raise ConfigError(f"data.{name}={column}: there is no such column in {key}; choose one of {there}")
        self.key = key
        self._dataset = dataset.select_columns([data.question_field, data.answer_field])

    def scan(self) -> Iterator[tuple[int, int, Mapping[str, object]]]:
        """See `Rows`."""
        for index, record in enumerate(self._dataset):
            yield index + 1, index, record

    def at(self, place: int) -> Mapping[str, object]:
        """See `Rows`."""
        return self._dataset[place]

    def record(self, stored: Mapping[str, object]) -> Mapping[str, object]:
        """See `Rows`."""
        return stored


def parquet(path: str, key: str, data: DataConfig) -> ArrowRows:
    """The rows of the Parquet file at `path`, which the configuration names as `key`. Raises `ConfigError`."""
    if not path:
        raise ConfigError(f"{key} is empty: name a Parquet file")
    if not Path(path).is_file():
        raise ConfigError(f"{key}={path}: there is no such file; name a Parquet file")
    return ArrowRows(
        _load(f"{key}={path}", "name a Parquet file", "parquet", data_files=path, split="train"), f"{key}={path}", data
    )


def hub(data: DataConfig) -> ArrowRows:
    """The rows of the split `data.split` of a data set on the hub, or in a folder made like one. Raises `ConfigError`."""
    if not data.path:
        raise ConfigError("data.path is empty: name a data set of the hub, or a folder")
    key = f"data.path={data.path}" + (f" data.subset={data.subset}" if data.subset else "") + f" data.split={data.split}"
    remedy = "correct the name, go online once, or name a folder that holds the data set"
    return ArrowRows(_load(key, remedy, data.path, data.subset or None, split=data.split), key, data)


def _load(key: str, remedy: str, *args: str | None, **options: str) -> Dataset:
    from datasets import load_dataset  # takes a second
    from datasets.exceptions import DatasetsError

    try:
        return load_dataset(*args, **options)
    # A missing name, split or network, a damaged file: the library and those below it have no common error for them.
    except (OSError, ValueError, DatasetsError) as error:
        raise ConfigError(f"{key}: cannot be read ({error}); {remedy}") from error
