"""The source of the installed vLLM, which is parsed where an import would take ten seconds."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


def vllm_statements(file: str) -> list[ast.stmt] | None:
    """Return the statements of vLLM's source `file`, such as `engine/arg_utils.py`; None when vLLM is not installed."""
    package = find_spec("vllm")
    if package is None or package.origin is None:
        return None
    return ast.parse((Path(package.origin).parent / file).read_text(encoding="utf-8")).body
