"""Imports without the garbage collector."""

from __future__ import annotations

import gc
import sys
from contextlib import redirect_stdout, suppress
from importlib import import_module

import pytest

from tandem.runtime.imports import without_collection


def test_collector_is_off_only_during_the_import() -> None:
    enabled = []
    with suppress(ImportError), without_collection():
        enabled.append(gc.isenabled())
        raise ImportError
    assert [*enabled, gc.isenabled()] == [False, True]


@pytest.mark.parametrize("imports", [True, False])
def test_collector_never_searches_what_was_imported(monkeypatch: pytest.MonkeyPatch, imports: bool) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with without_collection():
        kept = [object()]
        if imports:
            with redirect_stdout(None):
                import_module("this")
    assert any(found is kept for found in gc.get_objects()) is not imports
