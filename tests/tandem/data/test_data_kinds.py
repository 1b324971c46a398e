"""Tests of files of the wrong kind, which one message names, and of arbitrary bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.pass_rates import read_pass_rates
from tandem.data.problems import load_problems
from tests.support.problem_files import SUMS, arrow_cache, jsonl, refusal, write_jsonl, write_parquet

LINES = "".join(json.dumps(row) + "\n" for row in SUMS).encode()
CSV = b"question,answer\n" + b"".join(b"What is %d + 1?,%d\n" % (i, i + 1) for i in range(40))


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with arrow_cache(tmp_path_factory.mktemp("datasets")):
        yield


def zipped() -> bytes:
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as file:
        file.writestr("problems.jsonl", LINES)
    return archive.getvalue()


def as_parquet() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_parquet(Path(folder) / "x", SUMS).read_bytes()


def as_arrow() -> bytes:
    pyarrow.feather.write_feather(pa.Table.from_pylist(SUMS), table := pa.BufferOutputStream())
    return bytes(table.getvalue())


KINDS: dict[str, tuple[bytes, str]] = {
    "gzip": (gzip.compress(LINES), "it is compressed with gzip; unpack it with gunzip"),
    "bzip2": (bz2.compress(LINES), "it is compressed with bzip2; unpack it with bunzip2"),
    "xz": (lzma.compress(LINES), "it is compressed with xz; unpack it with unxz"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00", "it is compressed with zstd; unpack it with unzstd"),
    "zip": (zipped(), "it is a zip archive or a spreadsheet; unpack it"),
    "Parquet": (as_parquet(), "it is a Parquet file; set data.source=parquet"),
    "Arrow": (as_arrow(), "it is an Arrow file; write it as Parquet"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "fetch it with `git lfs pull`"),
    "UTF-16": (LINES.decode().encode("utf-16"), "it is text in UTF-16; convert it to UTF-8 with `iconv -f UTF-16 -t UTF-8`"),
    "UTF-16LE": (LINES.decode().encode("utf-16-le"), "convert it to UTF-8 with `iconv -f UTF-16LE -t UTF-8`"),
    "UTF-16BE": (LINES.decode().encode("utf-16-be"), "convert it to UTF-8 with `iconv -f UTF-16BE -t UTF-8`"),
    "UTF-32": (LINES.decode().encode("utf-32"), "it is text in UTF-32"),
    "array": (
        json.dumps(SUMS).encode(),
        "it is one JSON array, not an object a line; write one object a line, as `jq -c '.[]'`",
    ),
    "indented array": (json.dumps(SUMS, indent=2).encode(), "it is one JSON array, not an object a line"),
    "indented object": (json.dumps({"rows": SUMS}, indent=2).encode(), "it is JSON whose objects spread over lines"),
    "CSV": (CSV, "it is a CSV table; put it into a folder as train.csv, and set data.source=hub data.path=FOLDER"),
    "TSV": (CSV.replace(b",", b"\t"), "it is a TSV table; put it into a folder as train.tsv"),
    "web page": (b"<!DOCTYPE html>\n<html>", "it is a web page; download the file itself"),
    "nothing": (b"", "it is empty; give problems"),
    "blanks": (b"\n \n", "it is empty; give problems"),
    "binary": (b"\x7fELF\x00\x00\x00", "it is no text; convert it to one JSON object a line"),
}


@pytest.mark.parametrize("on_bad_line", ["stop", "skip"])
@pytest.mark.parametrize("kind", KINDS)
def test_file_of_another_kind_is_refused_by_name(tmp_path: Path, kind: str, on_bad_line: str) -> None:
    content, reason = KINDS[kind]
    (path := tmp_path / "problems.jsonl").write_bytes(content)
    message = refusal(jsonl(path, on_bad_line=on_bad_line))
    assert message.startswith(f"data.path={path}: ") and reason in message and len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (LINES, "it is a file of JSON; set data.source=jsonl"),
        (json.dumps(SUMS).encode(), "it is no Parquet file; name a Parquet file"),
        (CSV, "it is a CSV table; put it into a folder as train.csv, and set data.source=hub data.path=FOLDER"),
        (gzip.compress(LINES), "it is compressed with gzip; unpack it with gunzip"),
        (b"", "it is empty; give problems"),
        (as_parquet()[:-100], "cannot be read (Parquet magic bytes not found in footer."),
        (b"PAR1", "cannot be read ("),
    ],
)
def test_file_that_is_not_parquet_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (path := tmp_path / "x.parquet").write_bytes(content)
    assert refusal(DataConfig(source="parquet", path=str(path))).startswith(f"data.path={path}: {reason}")


@pytest.mark.parametrize("source", ["jsonl", "parquet"])
def test_path_of_no_file_is_refused(tmp_path: Path, source: str) -> None:
    def said(path: str) -> str:
        return refusal(DataConfig(source=source, path=path)).removeprefix(f"data.path={path}: ")

    assert said(str(tmp_path)).startswith("it is a folder; name a")
    assert said("x" * 5000).startswith("it cannot be read (File name too long); name a")
    assert said(f"{tmp_path}/no\0where").startswith("there is no such file; name a")
    os.mkfifo(tmp_path / "pipe")
    assert said(str(tmp_path / "pipe")).startswith("it is no regular file, which could be read again; name a")


def test_remedy_for_table_in_folder_works(tmp_path: Path) -> None:
    texts = load_problems(jsonl(write_jsonl(tmp_path / "x.jsonl", SUMS)), 1)
    (folder := tmp_path / "folder").mkdir()
    (folder / "train.csv").write_bytes(CSV)
    assert load_problems(DataConfig(source="hub", path=str(folder)), 1).held_out(40) == texts.held_out(40)


def test_byte_order_mark_is_not_in_first_line(tmp_path: Path) -> None:
    (tmp_path / "marked.jsonl").write_bytes(b"\xef\xbb\xbf" + LINES)
    marked, plain = (load_problems(jsonl(path), 1) for path in (tmp_path / "marked.jsonl", write_jsonl(tmp_path / "x", SUMS)))
    assert marked.held_out(40) == plain.held_out(40)
    assert marked.train.batch(0, 30) == plain.train.batch(0, 30)


def test_lines_of_lists_are_not_json_array(tmp_path: Path) -> None:
    (path := tmp_path / "x.jsonl").write_bytes(b'[{"question": "a"}]\n' + LINES)
    assert "line 1: not a JSON object but list" in refusal(jsonl(path))


@pytest.mark.parametrize(
    "name", ["part[1].parquet", "*.parquet", "wh?t.parquet", "[!a].parquet", "a://b.parquet", "sp ace.parquet"]
)
def test_parquet_path_is_not_glob_pattern(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / "1.parquet", [{"question": "another?", "answer": 1}])
    (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
    data = DataConfig(source="parquet", path=str(write_parquet(tmp_path / name, SUMS)), evaluation_only=True)
    assert len(load_problems(data, 1).held_out(100)) == 40


def test_changed_parquet_file_is_read_again(tmp_path: Path) -> None:
    data = DataConfig(source="parquet", path=str(tmp_path / "x.parquet"), evaluation_only=True)
    for count in (3, 5):
        write_parquet(tmp_path / "x.parquet", SUMS[:count])
        assert len(load_problems(data, 1).held_out(100)) == count


def test_file_name_with_separator_of_library_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a::b.parquet", SUMS)
    assert refusal(DataConfig(source="parquet", path=str(path))).endswith("takes `::` for a separator; rename the file")


# Datasets that `datasets` cannot read


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("set.py", b"import datasets\n", "save its splits as Parquet files, train.parquet and so on, in a folder without"),
        ("train.jsonl", b"", "cannot be read (StopIteration)"),
        ("train.jsonl", b'{"question": "a"\n', "cannot be read (JSON parse error"),
        ("train.csv", b"", "cannot be read (No columns to parse from file)"),
        ("train.parquet", b"PAR1", "cannot be read ("),
        ("train.tar", b"1234", "cannot be read ("),
        ("train.xml", b"<a/>", "cannot be read ("),
        ("README.md", b"---\nconfigs: [a: b: c\n---\n", "cannot be read ("),
        ("dataset_info.json", b"{}", "cannot be read ("),
    ],
)
def test_unreadable_folder_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (folder := tmp_path / "set").mkdir()
    (folder / name).write_bytes(content)
    message = refusal(DataConfig(source="hub", path=str(folder)))
    assert message.startswith(f"data.path={folder} data.split=train: cannot be read (") and reason in message


def test_name_of_no_data_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "x.jsonl", SUMS)
    assert refusal(DataConfig(source="hub", path="json")).startswith("data.path=json: there is no such folder; name one, or")
    assert refusal(DataConfig(source="hub", path="x.jsonl")).startswith(
        "data.path=x.jsonl: it is a file; set data.source=jsonl"
    )
    (tmp_path / "a[1]").mkdir()
    assert refusal(DataConfig(source="hub", path="a[1]")).endswith("takes *, ? and [ for a pattern; rename the folder")


# Arbitrary bytes


any_bytes = st.binary(max_size=200) | st.text(max_size=60).map(str.encode)
mixed_lines = st.lists(st.sampled_from(LINES.splitlines()) | any_bytes, max_size=4).map(b"\n".join)


@settings(max_examples=300)
@given(any_bytes | mixed_lines, st.sampled_from(["stop", "skip"]))
def test_any_bytes_are_read_or_refused(content: bytes, on_bad_line: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / "x.jsonl").write_bytes(content)
        data = jsonl(path, on_bad_line=on_bad_line, evaluation_only=True)
        loaded_or_refused(lambda: load_problems(data, 1).held_out(9))
        loaded_or_refused(lambda: read_pass_rates(path))


def test_row_that_is_not_utf8_is_malformed(tmp_path: Path) -> None:
    questions = pa.array([b"one?", b"tw\xff?", b"three?"]).view(pa.string())
    pyarrow.parquet.write_table(pa.table({"question": questions, "answer": ["1", "2", "3"]}), tmp_path / "x.parquet")
    data = DataConfig(source="parquet", path=str(tmp_path / "x.parquet"), evaluation_only=True)
    assert "\n  row 2: cannot be read ('utf-8' codec can't decode byte 0xff in position 2" in refusal(data)
    held = load_problems(replace(data, on_bad_line="skip"), 1).held_out(9)
    assert {problem.question for problem in held} == {"one?", "three?"}


@settings(max_examples=40)
@given(st.data())
def test_damaged_parquet_file_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(as_parquet())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / "x.parquet").write_bytes(content)
        loaded_or_refused(
            lambda: load_problems(DataConfig(source="parquet", path=str(path), evaluation_only=True), 1).held_out(9)
        )


def loaded_or_refused(load: Callable[[], object]) -> None:
    """Fail if `load` raises anything except a `ConfigError` that names the key."""
    try:
        load()
    except ConfigError as error:
        message = str(error)
    else:
        return
    assert re.match(r"data\.(path|pass_rates|question_field|answer_field)=", message)
