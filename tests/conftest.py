"""Which tests are imported and run. Their fixtures are in tests/support/fixtures.py."""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Processes share the cores, so that threads must not wait for each other in busy loops. Read when torch is imported.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
# Two busy cores make any single example slow now and then.
settings.register_profile("tandem", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=10)
settings.load_profile("tandem")

MODULE_MARK = re.compile(r"^pytestmark = pytest\.mark\.(\w+)", re.MULTILINE)
_sessions: list[pytest.Session] = []
"""the one that has ended"""


def pytest_configure(config: pytest.Config) -> None:
    """Import the fixtures, which takes seconds, where tests run: not in the process that only starts others."""
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        # The collector would search the modules that tests import again and again, for seconds.
        gc.disable()
        config.pluginmanager.import_plugin("tests.support.fixtures")
        config.pluginmanager.import_plugin("tests.support.composition")
    # Tests send SIGINT, which a process that a shell starts in the background ignores, with all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module all of whose tests `-m "not MARK and ..."` deselects: some import vLLM, which takes seconds."""
    deselected = config.option.markexpr.split(" and ")
    if collection_path.suffix != ".py" or not (mark := MODULE_MARK.search(collection_path.read_text(encoding="utf-8"))):
        return None
    return f"not {mark[1]}" in deselected or None


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but skip what is imported."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Take note of the status, which plugins may still change."""
    _sessions.append(session)


@atexit.register  # early, so that most libraries' functions are called before it
def _end_at_once() -> None:
    """End this process without freeing what was imported, which takes up to a minute."""
    if _sessions:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_sessions[0].exitstatus)


def _end_with_error(*error: Any) -> None:
    """Print an error that nothing caught, after which the interpreter exits by itself, with status 1."""
    _sessions.clear()
    sys.__excepthook__(*error)


sys.excepthook = _end_with_error


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Check a module that was imported."""
    report = yield
    _forbid_vllm(collector)
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Check a test that ran."""
    _forbid_vllm(item)


def _forbid_vllm(node: pytest.Collector | pytest.Item) -> None:
    """Stop a run of the quick tests in which `node` imported vLLM: it lacks a mark."""
    if "not seconds" in node.config.option.markexpr and "vllm" in sys.modules and not node.session.shouldfail:
        node.session.shouldfail = f"{node.nodeid} imports vLLM: mark its module by pytestmark, as CONTRIBUTING.md describes"
