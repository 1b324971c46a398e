"""Fork a Python process for each client: server.py LISTENER PYTHON.

LISTENER is the number of the socket that clients connect to, and PYTHON the program by which `multiprocessing` starts processes
in a fork. The server ends with its standard input.
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
from contextlib import suppress
from importlib import import_module
from runpy import run_module
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


def main(listener: socket.socket, python: str) -> None:
    """Import the modules, then fork until the standard input ends."""
    gc.disable()
    # Ray reads the variables of a job and its token when it is imported, so each fork imports it.
    sys.modules["ray"] = None  # type: ignore[assignment]
    for module in MODULES:
        with suppress(ImportError):  # the process that needs it raises the error
            import_module(module)
    del sys.modules["ray"]
    gc.freeze()
    gc.enable()
    _flush()
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
    clients: dict[int, socket.socket] = {}
    """by the process that was forked"""
    while True:
        for file, _ in poll.poll():
            if file == sys.stdin.fileno():
                return None
            if file == listener.fileno():
                connection, _ = listener.accept()
                if pid := os.fork():
                    clients[pid] = connection
                    poll.register(connection, select.POLLRDHUP)
                    with suppress(OSError):  # the client may have ended while it waited
                        connection.sendall(NUMBER.pack(pid))
                    continue
                signal.set_wakeup_fd(-1)
                for number, handler in before.items():
                    signal.signal(number, handler)
                for other in (listener, *clients.values()):
                    other.detach()
                return connection
            if file == wakes:
                os.read(wakes, 4096)
                _report_ended(clients, poll)
            else:
                for pid, connection in clients.items():
                    if connection.fileno() == file:  # the client has ended
                        poll.unregister(file)
                        os.kill(pid, signal.SIGKILL)


def _report_ended(clients: dict[int, socket.socket], poll: select.poll) -> None:
    """Remove the clients whose forks have ended, and send them the exit status."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if (connection := clients.pop(ended[0], None)) is not None:
                with suppress(KeyError):
                    poll.unregister(connection)
                with connection, suppress(OSError):  # the client may have ended
                    connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(ended[1])))


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return the request of a client, and its open files."""
    size, ancillary, _, _ = connection.recvmsg(NUMBER.size, socket.CMSG_SPACE(256 * 4))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data)
    text = b""
    while len(text) < NUMBER.unpack(size)[0]:
        if not (part := connection.recv(1 << 20)):
            os._exit(1)  # the client has ended
        text += part
    connection.detach()
    return json.loads(text), list(files)


def _become(request: dict[str, Any], files: list[int], python: str) -> None:
    """Be the process that the client asks for."""
    os.setsid()  # Ray kills the process group of a worker that has ended
    above = max(request["files"], default=2) + 1
    kept = [fcntl.fcntl(file, fcntl.F_DUPFD, above) for file in files]
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with suppress(OSError):  # the folder's own
                os.close(int(name))
    for file, number in zip(kept, request["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    # The server's streams remember whether its own files are terminals and seekable.
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, buffering, errors=errors, closefd=False) if number in request["files"] else None
        for number, mode, buffering, errors in ((0, "r", -1, None), (1, "w", -1, None), (2, "w", 1, "backslashreplace"))
    )
    os.chdir(request["folder"])
    mine = _python_path()
    os.environ.clear()
    os.environ |= request["environment"]
    sys.path[1:] = _python_path() + [folder for folder in sys.path[1:] if folder not in mine]
    multiprocessing.set_executable(python)
    _run(request["arguments"])


def _python_path() -> list[str]:
    """Return the folders in PYTHONPATH."""
    return [os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _run(arguments: list[str]) -> None:
    """Run `python ARGUMENTS`: a file, the module of -m or the code of -c, after options that are ignored."""
    while arguments[0].startswith("-") and arguments[0] not in ("-c", "-m"):
        del arguments[: 2 if arguments[0] in ("-X", "-W") else 1]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = os.getcwd()
        run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        return
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


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
    # To free what was imported takes seconds. Only a program that calls sys.exit ends as usual.
    atexit._run_exitfuncs()
    _flush()
    os._exit(0)
