"""The digits, in a pod that is slow, resets its connections, or dies, as a file says, and a stream. For tests of gateways."""

import contextlib
import ctypes
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from serving.api import Arrays, BadInput, Request, Service, route

SLOW, RESETTING, DYING = Path("/tmp/slow"), Path("/tmp/resetting"), Path("/tmp/dying")
DATA_PORT = 8080
UNSPECIFIED = bytes(16)  # an address of no family: connecting to it ends a TCP connection with a reset (connect(2))
LIBC = ctypes.CDLL(None, use_errno=True)


class Moody(Service):
    def setup(self) -> None:
        threading.Thread(target=do_as_told, daemon=True).start()

    def preprocess(self, request: Request) -> Arrays:
        if SLOW.exists():
            time.sleep(0.2)
        if RESETTING.exists():
            time.sleep(0.05)  # an answer within a millisecond would come before the reset
        return super().preprocess(request)

    @route("/lines", "GET")
    def lines(self, request: Request) -> Iterator[int]:
        """Ten numbers a second, for two seconds or until it fails."""
        for number in range(20):
            if number == request.value("fails", int, -1):
                raise BadInput(f"the number {number} fails")
            yield number
            time.sleep(0.1)


def do_as_told() -> None:
    """Reset each client's connection while the file is there, or die. Runs until the process ends."""
    while True:
        if DYING.exists():
            DYING.unlink()  # the file would outlive the container, which is restarted
            os._exit(1)
        if RESETTING.exists():
            for number in map(int, os.listdir("/proc/self/fd")):
                with contextlib.suppress(OSError):
                    reset(number)
        time.sleep(0.001 if RESETTING.exists() else 0.1)


def reset(number: int) -> None:
    """Reset a connection to the data port. Raises OSError where the number is no socket."""
    own = socket.socket(fileno=number)  # no copy of it: a copy would not be the last to close it
    try:
        is_tcp = own.family in (socket.AF_INET, socket.AF_INET6) and own.type == socket.SOCK_STREAM
        if is_tcp and own.getpeername() and own.getsockname()[1] == DATA_PORT:  # a listening socket has no peer
            LIBC.connect(number, UNSPECIFIED, len(UNSPECIFIED))
    finally:
        own.detach()
