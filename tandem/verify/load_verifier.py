"""Verifiers named by a dotted path, `package.module:function`: imported only where they run, in a worker."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from operator import attrgetter

Verifier = Callable[[str, str], object]
"""Judges (gold, response), both as they come from the data and the models; see `tandem.verify.judgement.as_judgement`."""

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def check_path(path: str) -> None:
    """Raises `ValueError` unless `path` is spelled `package.module:function`."""
    if not _PATH.fullmatch(path):
        raise ValueError(f"data.verifier={path}: name a function as package.module:function")


def load_verifier(path: str) -> Verifier:
    """The function that `path` names. This runs the module's code, which may raise anything.

    Raises `ValueError` when the path is misspelled or names nothing that can be called.
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
