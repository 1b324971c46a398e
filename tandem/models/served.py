"""The architectures that the installed vLLM serves."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_TABLES = ("_TEXT_GENERATION_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS")


@cache
def served_architectures() -> frozenset[str] | None:
    """Return the text-generation architectures in vLLM's source; None when vLLM is not installed.

    Parses the tables, because importing them takes ten seconds. Raises `KeyError` when vLLM has no such tables.
    """
    package = find_spec("vllm")
    if package is None or package.origin is None:
        return None
    registry = Path(package.origin).parent / "model_executor" / "models" / "registry.py"
    tables = {
        node.targets[0].id: node.value
        for node in ast.parse(registry.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict)
    }
    return frozenset(ast.literal_eval(key) for name in _TABLES for key in tables[name].keys if key is not None)
