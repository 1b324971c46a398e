"""Tests of the reported cause of an engine's death."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

from actors.engine_death import cause_of_death, last_error

LOG = """\
(EngineCore pid=7) ERROR 11-28 03:32:12 [core.py:1512]     raise InductorError(e, currentframe()).with_traceback(
(EngineCore pid=7) ERROR 11-28 03:32:12 [core.py:1512] torch._inductor.exc.InductorError: CppCompileError: C++ compile error
(EngineCore pid=7) ERROR 11-28 03:32:12 [core.py:1512] g++: fatal error: input file '/tmp/s' is the same as output file
(EngineCore pid=8) ERROR 11-28 03:32:12 [core.py:1512] ValueError: another engine's
(MainProcess pid=9) ERROR 11-28 03:32:12 [async_llm.py:906] vllm.v1.engine.exceptions.EngineDeadError: See stack trace
"""


def test_last_error_of_engine_is_found() -> None:
    assert last_error(LOG, 7) == "torch._inductor.exc.InductorError: CppCompileError: C++ compile error"
    assert last_error(LOG, 8) == "ValueError: another engine's"
    assert last_error(LOG, 70) == last_error("", 7) == ""


def test_signal_is_named() -> None:
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    process.start()
    os.kill(process.pid or 0, signal.SIGKILL)
    assert cause_of_death(process) == "killed by SIGKILL"
