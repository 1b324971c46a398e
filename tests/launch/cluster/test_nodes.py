"""Tests of the facts about a node that its driver reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.cluster.nodes import gpu_gib


@pytest.mark.parametrize(
    ("printed", "gib"),
    [("81920\n40960\n", 40.0), ("[N/A]\n", 0.0), ("[N/A]\n81920\n", 0.0), ("", 0.0), ("[Insufficient Permissions]\n", 0.0)],
)
def test_unknown_memory_of_a_gpu_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, gib: float) -> None:
    (program := tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{printed}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_gib() == gib
