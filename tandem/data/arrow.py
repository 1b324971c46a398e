"""Parquet files and data sets of the hub, through `datasets`: their rows are mapped from disk, not read into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from glob import has_magic
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.fields import SHOWN_CHARS, Numeral
from tandem.data.file_kinds import WANTED, check_kind

if TYPE_CHECKING:
    from datasets import Dataset

FLOATS: dict[str, type[np.floating[Any]]] = {"float16": np.float16, "float32": np.float32, "float64": np.float64}
"""The types of columns whose numbers `datasets` returns as Python floats, with the digits of a float64."""

BATCH = 1000
"""How many rows are read at once."""

Stored = Mapping[str, object] | ValueError
"""The columns of a row, or why they cannot be read."""


class ArrowRows:
    """The rows of `dataset`, which the setting `key` names; the place of a row is its index.

    Raises `ConfigError` when it lacks the question's or the answer's column.
    """

    unit = "row"

    def __init__(self, dataset: Dataset, key: str, data: DataConfig) -> None:
        columns = dict.fromkeys(_column(dataset, name, key, data) for name in ("question_field", "answer_field"))
        self.key = key
        self._dataset = dataset.select_columns(list(columns))
        self._features = self._dataset.features

    def scan(self) -> Iterator[tuple[int, int, Stored]]:
        """See `Rows`."""
        for start in range(0, len(self._dataset), BATCH):
            for index, stored in enumerate(self._batch(start), start):
                yield index + 1, index, stored

    def at(self, place: int) -> Stored:
        """See `Rows`."""
        try:
            return self._dataset[place]
        except ValueError as error:  # such as text that is not UTF-8, which Parquet does not check
            return error

    def record(self, stored: Stored) -> Mapping[str, object]:
        """See `Rows`. Numbers become `Numeral`, and labels their names."""
        if isinstance(stored, ValueError):
            raise ValueError(f"cannot be read ({stored})"[:SHOWN_CHARS])
        return {name: _spelled(value, self._features[name]) for name, value in stored.items()}

    def _batch(self, start: int) -> Iterator[Stored]:
        places = range(start, min(start + BATCH, len(self._dataset)))
        try:
            columns = self._dataset[places.start : places.stop]
        except ValueError:
            yield from map(self.at, places)
        else:
            yield from (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def parquet(path: str, key: str, data: DataConfig) -> ArrowRows:
    """The rows of the Parquet file at `path`, which the configuration names as `key`. Raises `ConfigError`."""
    check_kind(path, key, data)
    if "::" in path:
        raise ConfigError(f"{key}={path}: the library that reads it takes `::` for a separator; rename the file")

    def load() -> Dataset:
        from datasets import load_dataset  # takes a second
        from datasets.data_files import DataFilesDict, DataFilesList

        # A bare path would be taken for a pattern, as in `part[1].parquet`.
        file = Path(path).absolute()
        version = (str(file.stat().st_mtime_ns), str(file.stat().st_size))
        return load_dataset(
            "parquet", data_files=DataFilesDict({"train": DataFilesList([str(file)], [version])}), split="train"
        )

    return ArrowRows(_read(load, f"{key}={path}", WANTED["parquet"]), f"{key}={path}", data)


def hub(data: DataConfig) -> ArrowRows:
    """The rows of the split `data.split` of a data set on the hub, or in a folder made like one. Raises `ConfigError`."""
    name = data.path
    if not name:
        raise ConfigError("data.path is empty: name a data set of the hub, or a folder")
    if Path(name).is_file():
        raise ConfigError(f"data.path={name}: it is a file; set data.source=jsonl or parquet, or name the folder it is in")
    if Path(name).is_dir():
        if has_magic(name):
            raise ConfigError(f"data.path={name}: the library that reads it takes *, ? and [ for a pattern; rename the folder")
        name = str(Path(name).absolute())
    elif name.isidentifier() and find_spec(f"datasets.packaged_modules.{name}"):
        # It would read what lies in the working directory.
        raise ConfigError(f"data.path={name}: there is no such folder; name one, or a data set of the hub (ORG/NAME)")

    def load() -> Dataset:
        from datasets import load_dataset  # takes a second

        return load_dataset(name, data.subset or None, split=data.split)

    key = f"data.path={data.path}" + (f" data.subset={data.subset}" if data.subset else "") + f" data.split={data.split}"
    return ArrowRows(_read(load, key, "correct the name, go online once, or name a folder that holds the data set"), key, data)


def _read(load: Callable[[], Dataset], key: str, remedy: str) -> Dataset:
    try:
        return load()
    # A missing name, split or network, a damaged file, a loading script: the library and the parsers below it, of every kind of
    # file, have no common error for them.
    except Exception as error:
        cause = error.__cause__ or error
        reason = " ".join(f"{cause}".split())[:SHOWN_CHARS] or type(cause).__name__
        if "scripts are no longer supported" in reason:
            remedy = "save its splits as Parquet files, train.parquet and so on, in a folder without the script, and name that"
        raise ConfigError(f"{key}: cannot be read ({reason}); {remedy}") from error


def _column(dataset: Dataset, name: str, key: str, data: DataConfig) -> str:
    """Return the column that holds the field that the setting data.`name` names. Raises `ConfigError` where there is none."""
    field = getattr(data, name)
    columns = dataset.features
    if field in columns:
        return field
    feature: object = columns
    for part in field.split("."):
        if isinstance(feature, Mapping):
            if part not in feature:
                there = ", ".join(_names(columns))[:SHOWN_CHARS]
                raise ConfigError(f"data.{name}={field}: there is no such column in {key}; choose one of {there}")
            feature = feature[part]
    return field.split(".")[0]


def _names(features: Mapping[str, object], above: str = "") -> Iterator[str]:
    """The fields of all columns, dotted."""
    for name, feature in features.items():
        if isinstance(feature, Mapping):
            yield from _names(feature, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _spelled(value: object, feature: object) -> object:
    """Return `value` of a column of type `feature` with its numbers as that type spells them, and labels by name."""
    match value:
        case Mapping():
            return {
                name: _spelled(each, feature[name] if isinstance(feature, Mapping) else None) for name, each in value.items()
            }
        case list():
            return [_spelled(each, getattr(feature, "feature", None)) for each in value]
        case bool():
            return value
        case int():
            names = getattr(feature, "names", None)  # of a ClassLabel, which marks a missing one with -1
            return Numeral(str(value)) if names is None else names[value] if value >= 0 else None
        case float():
            return _float(value, getattr(feature, "dtype", "float64"))
        case Decimal():
            return Numeral(format(value, "f"))
        case _:
            return value


def _float(value: float, dtype: str) -> Numeral:
    """Return the shortest numeral that `dtype` reads as `value`.

    Where `dtype` has fewer digits than a whole number of that size, nobody can tell which number it was before it was stored.
    """
    kind = FLOATS.get(dtype, np.float64)
    number, limits = kind(value), np.finfo(kind)
    plain = value == 0 or 1e-4 <= abs(value) < 1e16  # as Python writes them
    text = np.format_float_positional(number, trim="0") if plain else str(number)
    digits = len(text.lstrip("-").partition("e")[0].replace(".", "").strip("0"))
    lossy = abs(value) >= 2.0 ** (limits.nmant + 1) and digits > limits.precision
    return Numeral(text, dtype if lossy else "")
