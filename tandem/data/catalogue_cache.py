"""The cache of catalogues: a large dataset is read, and its prompts are tokenized, once for each tokenizer and template."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from tandem.config.data import DataConfig
from tandem.data.catalogue import ARRAYS, COUNTS, Catalogue
from tandem.data.rows import Rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FOLDER = "catalogues"
"""The folder in the cache."""
SMALLEST = 10_000
"""The least number of rows that is worth a file."""
SETTINGS = ("question_field", "answer_field", "answer_pattern", "on_bad_line", "verifier", "template", "system", "chat")
"""The settings of `data` on which a catalogue depends."""
READ_BY = ("data", "verify", "tokenization")
"""The folders of this package whose code reads the rows."""


def cached(
    rows: Rows,
    data: DataConfig,
    readers: Sequence[PreTrainedTokenizerBase],
    folder: Path,
    read: Callable[[], Catalogue],
) -> Catalogue:
    """Return the catalogue of `rows` for `readers`: the one in the cache folder `folder`, or else the result of `read`.

    A catalogue is found by the contents of everything that it depends on, and by the code that reads them.
    """
    key = _fingerprint(rows, data, readers)
    if key is None:
        return read()
    path = folder / FOLDER / f"{key}.npz"
    # A missing or damaged file is as good as none.
    with suppress(OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile), np.load(path) as saved:
        counts = dict(zip(COUNTS, saved["counts"].tolist(), strict=True))
        return Catalogue(rows, data, **{name: saved[name] for name in ARRAYS}, **counts)
    catalogue = read()
    if catalogue.read >= SMALLEST:
        with suppress(OSError):  # such as a full disk: the next run reads the dataset again
            _save(catalogue, path)
    return catalogue


def _save(catalogue: Catalogue, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(catalogue, name) for name in ARRAYS}
    with NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
        try:
            np.savez(file, counts=np.array([getattr(catalogue, name) for name in COUNTS]), **arrays)
        except OSError:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)


def _fingerprint(rows: Rows, data: DataConfig, readers: Sequence[PreTrainedTokenizerBase]) -> str | None:
    """Return a hash of all that decides the catalogue; None for a tokenizer whose state cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    for reader in readers:
        if not hasattr(reader, "backend_tokenizer"):
            return None
        state = reader.backend_tokenizer.to_str()
        digest.update(json.dumps([state, reader.chat_template, sorted(reader.special_tokens_map.items())]).encode())
    settings = {name: getattr(data, name) for name in SETTINGS}
    digest.update(json.dumps([rows.fingerprint(), settings, _code()]).encode())
    return digest.hexdigest()


@cache
def _code() -> list[str]:
    """Return the version of the tokenizers, and a hash of the code that reads rows."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path for folder in READ_BY for path in (Path(__file__).parents[1] / folder).glob("*.py")):
        digest.update(path.read_bytes())
    return [version("transformers"), version("tokenizers"), digest.hexdigest()]
