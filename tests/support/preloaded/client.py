"""Run `python ARGUMENTS` as a fork of the server: client.py ADDRESS ARGUMENTS. Starts in milliseconds, so it imports little.

The fork has this process's environment, folder and open files. Signals are forwarded to it, its exit status is this process's,
and it is killed if this process is.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from types import FrameType

NUMBER = struct.Struct("<q")
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(address: str, arguments: list[str]) -> int:
    """Return the exit status of the fork, negative for a signal."""
    files = inherited_files()
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ), "files": files}
    text = json.dumps(request).encode()
    server.sendmsg([NUMBER.pack(len(text))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])
    server.sendall(text)
    (pid,) = NUMBER.unpack(server.recv(NUMBER.size))

    def forward(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    for file in files:
        os.close(file)  # the other ends see when the fork closes them
    status = server.recv(NUMBER.size)
    return int(NUMBER.unpack(status)[0]) if status else 1


def inherited_files() -> list[int]:
    """Return the numbers of the open files that a program started by this process would have."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]  # the folder's own too, which is closed by now
    return [file for file in listed if os.path.exists(f"/proc/self/fd/{file}") and os.get_inheritable(file)]


if __name__ == "__main__":
    status = main(sys.argv[1], sys.argv[2:])
    if status < 0:
        if -status in FORWARDED:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)
