"""Tests that any damage to a model's files is refused or harmless, without another exception."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tandem.config.schema import ConfigError
from tandem.models.inspection import inspect_model

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors")


@pytest.mark.seconds
@given(
    name=st.sampled_from(FILES),
    where=st.floats(0, 1, exclude_max=True),
    what=st.one_of(
        st.just(b""), st.binary(min_size=1, max_size=8), st.sampled_from([b"9", b"-", b'"', b"null", b"{", b"\xff"])
    ),
    cut=st.booleans(),
)
@example(name="model.safetensors", where=0.0, what=b"\xff" * 8, cut=False)
@settings(max_examples=150)
def test_overwritten_bytes_are_refused_or_harmless(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, name: str, where: float, what: bytes, cut: bool
) -> None:
    """The same holds if the file is truncated at that place."""
    content = (saved / name).read_bytes()
    at = int(where * (8000 if name == "model.safetensors" else len(content)))
    inspect_with(saved, tmp_path_factory, name, content[:at] + what + (b"" if cut else content[at + len(what) :]))


VALUES = [None, 0, -1, 1, 7, 10**6, 10**12, 1e308, True, "", "x", [], {}, [1], {"a": 1}, [None], 3.5]


@pytest.mark.seconds
@given(name=st.sampled_from(FILES[:-1]), value=st.sampled_from(VALUES), data=st.data())
@settings(max_examples=150)
def test_other_values_are_refused_or_harmless(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, name: str, value: object, data: st.DataObject
) -> None:
    """Replace any value of a JSON file by another of any type."""
    content = json.loads((saved / name).read_text())
    key = data.draw(st.sampled_from(sorted(content)))
    if name == "tokenizer.json" and isinstance(content[key], dict) and content[key]:
        content, whole = content[key], content
        key = data.draw(st.sampled_from(sorted(content)))
    else:
        whole = content
    content[key] = value
    inspect_with(saved, tmp_path_factory, name, json.dumps(whole).encode())


def inspect_with(saved: Path, folders: pytest.TempPathFactory, name: str, content: bytes) -> None:
    """Inspect the model `saved` with other content of the file `name`."""
    damaged = folders.mktemp("damaged")
    for file in saved.iterdir():
        if file.name != name:
            (damaged / file.name).symlink_to(file)
    (damaged / name).write_bytes(content)
    with suppress(ConfigError):
        inspect_model(damaged, "model.path=MODEL")
    shutil.rmtree(damaged)
