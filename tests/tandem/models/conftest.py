"""A small model, and a copy of it that a test may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.builders import save_model, small_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small usable model with untied embeddings."""
    return save_model(tmp_path_factory.mktemp("models") / "usable", small_tokenizer(), vocab_size=400)


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that the test damages."""
    return shutil.copytree(saved, tmp_path / "model")
