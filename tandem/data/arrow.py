"""Parquet files and datasets of the hub, read with `datasets`, which maps their rows from disk instead of loading them."""

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
"""The numpy type of each floating-point column type. `datasets` returns their numbers as Python floats."""

BATCH = 1000
"""The number of rows read at once."""

Stored = Mapping[str, object] | ValueError
"""The columns of a row, or the error that reading them raised."""


class ArrowRows:
    """The rows of `dataset`, which the setting `key` names. The place of a row is its index.

    Raises `ConfigError` when the column of the question or of the answer is missing.
    """

    unit = "row"

    def __init__(self, dataset: Dataset, key: str, data: DataConfig) -> None:
        columns = dict.fromkeys(_column(dataset, name, key, data) for name in ("question_field", "answer_field"))
        self.key = key
        self._dataset = dataset.select_columns(list(columns))
        self._features = self._dataset.features

    def fingerprint(self) -> str:
        """Return the library's hash of the files and columns, which knows a file by its time and size."""
        return f"{self._dataset._fingerprint} {len(self._dataset)}"

    def scan(self) -> Iterator[tuple[int, int, Stored]]:
        """Yield number (from 1), index and columns of every row. Reads `BATCH` rows at a time."""
        for start in range(0, len(self._dataset), BATCH):
            for index, stored in enumerate(self._batch(start), start):
                yield index + 1, index, stored

    def at(self, place: int) -> Stored:
        """Return the columns of the row at index `place`, or the error that reading them raised."""
        try:
            return self._dataset[place]
        except ValueError as error:  # such as text that is not UTF-8, which Parquet does not check
            return error

    def record(self, stored: Stored) -> Mapping[str, object]:
        """Return the fields of a row: numbers as `Numeral`, labels by name. Raises `ValueError` when it cannot be read."""
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
    """Open the Parquet file at `path`, which the setting `key` names. Raises `ConfigError` when it cannot be read."""
    check_kind(path, key, data)
    if "::" in path:
        raise ConfigError(f"{key}={path}: the library that reads it takes `::` for a separator; rename the file")

    def load() -> Dataset:
        from datasets import load_dataset  # takes a second
        from datasets.data_files import DataFilesDict, DataFilesList

        # `datasets` reads a bare path as a pattern: `part[1].parquet` would not be found.
        file = Path(path).absolute()
        version = (str(file.stat().st_mtime_ns), str(file.stat().st_size))
        return load_dataset(
            "parquet", data_files=DataFilesDict({"train": DataFilesList([str(file)], [version])}), split="train"
        )

    return ArrowRows(_read(load, f"{key}={path}", WANTED["parquet"]), f"{key}={path}", data)


def hub(data: DataConfig) -> ArrowRows:
    """Open the split `data.split` of a dataset on the hub or in a folder. Raises `ConfigError` when it cannot be read."""
    name = data.path
    if not name:
        raise ConfigError("data.path is empty: name a dataset of the hub, or a folder")
    if Path(name).is_file():
        raise ConfigError(f"data.path={name}: it is a file; set data.source=jsonl or parquet, or name the folder it is in")
    if Path(name).is_dir():
        if has_magic(name):
            raise ConfigError(f"data.path={name}: the library that reads it takes *, ? and [ for a pattern; rename the folder")
        name = str(Path(name).absolute())
    elif name.isidentifier() and find_spec(f"datasets.packaged_modules.{name}"):
        # `datasets` would read the files of the working directory.
        raise ConfigError(f"data.path={name}: there is no such folder; name one, or a dataset of the hub (ORG/NAME)")

    def load() -> Dataset:
        from datasets import load_dataset  # takes a second

        return load_dataset(name, data.subset or None, split=data.split)

    key = f"data.path={data.path}" + (f" data.subset={data.subset}" if data.subset else "") + f" data.split={data.split}"
    return ArrowRows(_read(load, key, "correct the name, go online once, or name a folder that holds the dataset"), key, data)


def _read(load: Callable[[], Dataset], key: str, remedy: str) -> Dataset:
    try:
        return load()
    # A missing name, split or network, a damaged file, a loading script: the library and its parsers have no common error
    # class for these.
    except Exception as error:
        cause = error.__cause__ or error
        reason = " ".join(f"{cause}".split())[:SHOWN_CHARS] or type(cause).__name__
        if "scripts are no longer supported" in reason:
            remedy = "save its splits as Parquet files, train.parquet and so on, in a folder without the script, and name that"
        raise ConfigError(f"{key}: cannot be read ({reason}); {remedy}") from error


def _column(dataset: Dataset, name: str, key: str, data: DataConfig) -> str:
    """Return the column of the field that the setting data.`name` names. Raises `ConfigError` when there is none."""
    field = getattr(data, name)
    columns = dataset.features
    if field in columns:
        return field
    feature: object = columns
    for part in field.split("."):
        if isinstance(feature, Mapping):
            if part not in feature:
                choices = ", ".join(_names(columns))[:SHOWN_CHARS]
                raise ConfigError(f"data.{name}={field}: there is no such column in {key}; choose one of {choices}")
            feature = feature[part]
    return field.split(".")[0]


def _names(features: Mapping[str, object], above: str = "") -> Iterator[str]:
    """Yield the dotted names of the fields of all columns."""
    for name, feature in features.items():
        if isinstance(feature, Mapping):
            yield from _names(feature, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _spelled(value: object, feature: object) -> object:
    """Return `value` of a column of type `feature`, with numbers as `Numeral` and labels by name."""
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
            names = getattr(feature, "names", None)  # of a ClassLabel; -1 is a missing label
            return Numeral(str(value)) if names is None else names[value] if value >= 0 else None
        case float():
            return _float(value, getattr(feature, "dtype", "float64"))
        case Decimal():
            return Numeral(format(value, "f"))
        case _:
            return value


def _float(value: float, dtype: str) -> Numeral:
    """Return the shortest numeral that `dtype` reads as `value`.

    The numeral is marked as rounded when `dtype` has fewer digits than an integer of this size: the original may have differed.
    """
    kind = FLOATS.get(dtype, np.float64)
    number, limits = kind(value), np.finfo(kind)
    plain = value == 0 or 1e-4 <= abs(value) < 1e16  # the limits of `repr`
    text = np.format_float_positional(number, trim="0") if plain else str(number)
    digits = len(text.lstrip("-").partition("e")[0].replace(".", "").strip("0"))
    lossy = abs(value) >= 2.0 ** (limits.nmant + 1) and digits > limits.precision
    return Numeral(text, dtype if lossy else "")
