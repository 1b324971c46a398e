"""Tests that every call that reads or writes text names its encoding, so that text is UTF-8 in any locale."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support import ROOT

PACKAGES = ("tandem", "actors", "learner", "launch", "bench")
NEVER_TEXT = {"os", "safe_open", "Interval"}
"""Owners of an `open` that does not open text files."""


def unspecified(source: str) -> Iterator[int]:
    """Yield the line of every call that leaves the encoding of text to the locale."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _is_text(node) and all(keyword.arg != "encoding" for keyword in node.keywords):
            yield node.lineno


def _is_text(call: ast.Call) -> bool:
    """Whether `call` reads or writes text."""
    given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in {"read_text", "write_text"} or given.get("text") is True:
        return True
    if name != "open":
        return False
    owner = getattr(getattr(call.func, "value", None), "id", "")
    mode = call.args[1:2] if isinstance(call.func, ast.Name) else call.args[:1]
    return owner not in NEVER_TEXT and "b" not in str(given.get("mode") or (getattr(mode[0], "value", "r") if mode else "r"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_text_is_utf_8(package: str) -> None:
    paths = sorted((ROOT / package).rglob("*.py"))
    found = [f"{path.relative_to(ROOT)}:{line}" for path in paths for line in unspecified(path.read_text(encoding="utf-8"))]
    assert paths and not found


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.write_text(line)", True),
        ("path.open()", True),
        ("path.open('rb')", False),
        ("open(path)", True),
        ("open(path, mode='wb')", False),
        ("open(path, 'a', encoding='utf-8')", False),
        ("os.open(path, flags)", False),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command)", False),
    ],
)
def test_calls_that_depend_on_locale_are_recognized(call: str, text: bool) -> None:
    assert bool([*unspecified(call)]) == text
