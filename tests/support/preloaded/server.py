"""Fork a Python process for each client: server.py ADDRESS PYTHON. PYTHON is the program by which `multiprocessing` starts
processes in a fork.

The server ends with its standard input. Forks end without freeing what was imported, which takes seconds.
"""

from __future__ import annotations

import array
import atexit
import fcntl
import gc
import json
import multiprocessing
import os
import select
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

MODULES = (
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
    "vllm.v1.worker.cpu_worker",
    "vllm.model_executor.layers.quantization.online.base",
    "deepspeed",
    "peft",
    "math_verify",
)
NUMBER = struct.Struct("<q")
FIRST_FREE = 1024
"""The lowest number of a file that no process has at its start."""


def main(address: str, python: str) -> None:
    """Import the modules, then fork until the standard input ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    gc.disable()
    # Ray reads the variables of a job and its token when it is imported: each fork imports it.
    sys.modules["ray"] = None  # type: ignore[assignment]
    for module in MODULES:
        with suppress(ImportError):  # the process that needs it raises the error
            import_module(module)
    del sys.modules["ray"]
    gc.freeze()
    gc.enable()
    if connection := _serve(listener):
        _become(*_receive(connection), python)


def _serve(listener: socket.socket) -> socket.socket | None:
    """Fork for each client. Returns the connection to it in the fork, and nothing in the server at its end."""
    wakes, woken = os.pipe2(os.O_NONBLOCK)
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGCHLD, signal.SIGINT)}
    signal.set_wakeup_fd(woken)
    poll = select.poll()
    for file in (sys.stdin.fileno(), listener.fileno(), wakes):
        poll.register(file, select.POLLIN)
    clients: dict[int, tuple[int, socket.socket]] = {}  # by the number of the file, with the process that was forked
    while True:
        for file, _ in poll.poll():
            if file == sys.stdin.fileno():
                return None
            if file == listener.fileno():
                connection, _ = listener.accept()
                if pid := os.fork():
                    connection.sendall(NUMBER.pack(pid))
                    clients[connection.fileno()] = pid, connection
                    poll.register(connection, select.POLLRDHUP)
                    continue
                signal.set_wakeup_fd(-1)
                for number, handler in before.items():
                    signal.signal(number, handler)
                for _, other in clients.values():
                    other.detach()
                listener.detach()
                return connection
            if file == wakes:
                os.read(wakes, 4096)
                for process, status in _ended():
                    file = next(file for file, (pid, _) in clients.items() if pid == process)
                    poll.unregister(file)
                    with clients.pop(file)[1] as connection, suppress(OSError):  # the client may have ended
                        connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
            elif file in clients:  # the client has ended
                poll.modify(file, 0)
                os.kill(clients[file][0], signal.SIGKILL)


def _ended() -> list[tuple[int, int]]:
    """Return process and status of the forks that have ended and were not returned before."""
    ended = []
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(found)
    return ended


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return the request of a client, and its open files."""
    size, ancillary, _, _ = connection.recvmsg(NUMBER.size, socket.CMSG_SPACE(256 * 4))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data)
    text = b""
    while len(text) < NUMBER.unpack(size)[0]:
        text += connection.recv(1 << 20)
    connection.detach()
    return json.loads(text), list(files)


def _become(request: dict[str, Any], files: list[int], python: str) -> None:
    """Be the process that the client asks for, and exit as it."""
    os.setsid()  # Ray kills the process group of a worker that has ended
    kept = [fcntl.fcntl(file, fcntl.F_DUPFD, FIRST_FREE) for file in files]
    os.closerange(0, FIRST_FREE)
    for file, number in zip(kept, request["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ |= request["environment"]
    multiprocessing.set_executable(python)
    status = 0
    try:
        _run(request["arguments"])
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does at the end
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _run(arguments: list[str]) -> None:
    """Run `python ARGUMENTS`: a file or the code of -c, after options that are ignored."""
    while arguments[0].startswith("-") and arguments[0] != "-c":
        del arguments[0]
    main = sys.modules["__main__"] = ModuleType("__main__")
    if arguments[0] == "-c":
        sys.argv, code = ["-c", *arguments[2:]], compile(arguments[1], "<string>", "exec")
        sys.path[0] = ""
    else:
        with open(arguments[0], "rb") as file:
            sys.argv, code = arguments, compile(file.read(), arguments[0], "exec")
        main.__file__ = arguments[0]
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
    exec(code, vars(main))  # noqa: S102 - the program that was asked for


if __name__ == "__main__":
    main(*sys.argv[1:])
