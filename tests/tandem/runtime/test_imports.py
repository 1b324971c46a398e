"""Imports without the garbage collector."""

from __future__ import annotations

import gc
from contextlib import suppress

from tandem.runtime.imports import without_collection


def test_collector_is_off_only_during_the_import() -> None:
    enabled = []
    with suppress(ImportError), without_collection():
        enabled.append(gc.isenabled())
        raise ImportError
    assert [*enabled, gc.isenabled()] == [False, True]


def test_collector_never_searches_what_was_imported() -> None:
    with without_collection():
        imported = [object()]
    assert not any(found is imported for found in gc.get_objects())
