"""A test of the regular expressions of the whole product."""

from __future__ import annotations

import re

import pytest

from tests.support import ROOT

POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{\d+(?:,\d*)?\})\+")


@pytest.mark.parametrize("package", ["tandem", "actors", "learner", "launch"])
def test_no_group_is_repeated_possessively(package: str) -> None:
    """Python before 3.11.5 matches them wrongly (https://github.com/python/cpython/issues/106052); `(?>...)` does the same."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert [str(file) for file in files if POSSESSIVE_GROUP.search(file.read_text(encoding="utf-8"))] == []
