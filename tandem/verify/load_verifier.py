"""Custom verifiers, named by a dotted path, `package.module:function`. Only a worker imports them."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from operator import attrgetter

Verifier = Callable[[str, str], object]
"""Judges the gold answer of the data and the response of the models; `as_judgement` lists what it may return."""

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def check_path(path: str) -> None:
    """Raise `ValueError` unless `path` has the form `package.module:function`."""
    if not _PATH.fullmatch(path):
        raise ValueError(f"data.verifier={path}: name a function as package.module:function")


def load_verifier(path: str) -> Verifier:
    """Import and return the function that `path` names. The import may raise anything.

    Raises `ValueError` when the path is malformed or names no callable object.
    """
    check_path(path)
    module_name, _, name = path.partition(":")
    try:
        verifier = attrgetter(name)(import_module(module_name))
    except AttributeError as error:
        raise ValueError(f"data.verifier={path}: {error}") from error
    if not callable(verifier):
        raise ValueError(f"data.verifier={path}: {verifier!r:.100} is not a function")
    return verifier
