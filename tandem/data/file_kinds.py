"""Detection of files of the wrong kind by their first bytes: one message for the file instead of one for each line."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError

HEAD = 1 << 16
"""The number of bytes examined at the beginning of a file."""
PARQUET_MAGIC = b"PAR1"
WANTED = {"jsonl": "name a file with one JSON object a line", "parquet": "name a Parquet file"}
"""The remedy for a file that cannot be used, by `data.source`."""

_MAGIC = (
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it with unxz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or export its table as one JSON object a line"),
    (b"ARROW1", "an Arrow file", "write it as Parquet, and set data.source=parquet"),
    (b"version https://git-lfs", "a pointer to a file that Git LFS keeps, not the file", "fetch it with `git lfs pull`"),
    (codecs.BOM_UTF32_LE, "text in UTF-32", "convert it to UTF-8 with `iconv -f UTF-32 -t UTF-8`"),
    (codecs.BOM_UTF32_BE, "text in UTF-32", "convert it to UTF-8 with `iconv -f UTF-32 -t UTF-8`"),
    (codecs.BOM_UTF16_LE, "text in UTF-16", "convert it to UTF-8 with `iconv -f UTF-16 -t UTF-8`"),
    (codecs.BOM_UTF16_BE, "text in UTF-16", "convert it to UTF-8 with `iconv -f UTF-16 -t UTF-8`"),
    (b'{\x00"\x00', "text in UTF-16", "convert it to UTF-8 with `iconv -f UTF-16LE -t UTF-8`"),
    (b'\x00{\x00"', "text in UTF-16", "convert it to UTF-8 with `iconv -f UTF-16BE -t UTF-8`"),
)
"""First bytes, name and remedy of each kind of file that no source reads."""
_LINES = "write one object a line"


def check_kind(path: str, key: str, data: DataConfig) -> None:
    """Raise `ConfigError` when the file at `path`, which the setting `key` names, is missing or not what `data.source` expects.

    A file of an unknown kind passes.
    """
    wanted = WANTED[data.source]
    if not path:
        raise ConfigError(f"{key} is empty: {wanted}")
    try:
        if not Path(path).exists():
            raise ConfigError(f"{key}={path}: there is no such file; {wanted}")
        if Path(path).is_dir():
            raise ConfigError(f"{key}={path}: it is a folder; {wanted}, or set data.source=hub for a folder of data files")
        if not Path(path).is_file():
            raise ConfigError(f"{key}={path}: it is no regular file, which could be read again; {wanted}")
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise ConfigError(f"{key}={path}: it cannot be read ({error.strerror}); {wanted}") from error
    if fault := _parquet_fault(head, data) if data.source == "parquet" else _lines_fault(head, data):
        what, remedy = fault
        raise ConfigError(f"{key}={path}: it is {what}; {remedy}")


def _parquet_fault(head: bytes, data: DataConfig) -> tuple[str, str] | None:
    """Return the actual kind of a file that is not Parquet, and the remedy; None when it may be Parquet."""
    if head.startswith(PARQUET_MAGIC):
        return None
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return "a file of JSON", "set data.source=jsonl"
    return _magic(head) or _text_table(head, data) or ("no Parquet file", WANTED["parquet"])


def _lines_fault(head: bytes, data: DataConfig) -> tuple[str, str] | None:
    """Return the actual kind of a file that is not JSON lines, and the remedy; None when it may be JSON lines."""
    if head.startswith(PARQUET_MAGIC):
        return "a Parquet file", "set data.source=parquet"
    return _magic(head) or _one_document(head) or _text_table(head, data)


def _magic(head: bytes) -> tuple[str, str] | None:
    for magic, what, remedy in _MAGIC:
        if head.startswith(magic):
            return what, remedy
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if not text and len(head) < HEAD:
        return "empty", "give problems"
    if text[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page", "download the file itself"
    if b"\0" in head:
        return "no text", "convert it to one JSON object a line"
    return None


def _one_document(head: bytes) -> tuple[str, str] | None:
    """Return kind and remedy of a file whose JSON values spread over lines or form one array; None for any other."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if re.match(rb"\[\s*(\{|\Z)", text) and not _is_line_of_many(text):
        return "one JSON array, not an object a line", f"{_LINES}, as `jq -c '.[]'` does"
    if re.match(rb"\{[ \t\r]*\n\s*\"", text):
        return "JSON whose objects spread over lines", f"{_LINES}, as `jq -c .` does, or `jq -c '.NAME[]'` for a list inside"
    return None


def _is_line_of_many(text: bytes) -> bool:
    """Whether the first line of `text` is a whole JSON value and more lines follow."""
    first, _, rest = text.partition(b"\n")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return bool(rest.strip())


def _text_table(head: bytes, data: DataConfig) -> tuple[str, str] | None:
    """Return kind and remedy of a CSV or TSV file whose header names the question's column; None for any other."""
    first = head.removeprefix(codecs.BOM_UTF8).partition(b"\n")[0].decode(errors="replace")
    for separator, kind in ((",", "csv"), ("\t", "tsv")):
        cells = [cell.strip().strip('"') for cell in first.split(separator)]
        if len(cells) > 1 and data.question_field in cells:
            return f"a {kind.upper()} table", f"put it into a folder as train.{kind}, and set data.source=hub data.path=FOLDER"
    return None
