"""A port that leads to another one for the length of a block: a sink that is away until then.

Knows sockets alone.

Concurrency: one thread accepts, and each direction of a connection has a thread. The end of the block closes all sockets, which
ends the threads.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def forwarding(port: int, to: int) -> Iterator[None]:
    """Lead connections of a port to another port."""
    sockets: list[socket.socket] = []
    listening = socket.create_server(("127.0.0.1", port))
    sockets.append(listening)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", to))
                sockets.extend((near, far))
                threading.Thread(target=_copy, args=(near, far), daemon=True).start()
                threading.Thread(target=_copy, args=(far, near), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65_536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
