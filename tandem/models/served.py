"""The architectures that the installed vLLM serves."""

from __future__ import annotations

import ast
from functools import cache

from tandem.models.vllm_source import vllm_statements

_TABLES = ("_TEXT_GENERATION_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS")


@cache
def served_architectures() -> frozenset[str] | None:
    """Return the text-generation architectures in vLLM's source; None when vLLM is not installed.

    Raises `KeyError` when vLLM's source has no tables of them.
    """
    statements = vllm_statements("model_executor/models/registry.py")
    if statements is None:
        return None
    tables = {
        node.targets[0].id: node.value
        for node in statements
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict)
    }
    return frozenset(ast.literal_eval(key) for name in _TABLES for key in tables[name].keys if key is not None)
