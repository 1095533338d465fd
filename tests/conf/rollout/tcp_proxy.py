"""A TCP proxy in front of a server, such as an API server or a broker, which a test cuts and restores."""

import contextlib
import socket
import threading


class TcpProxy:
    """A TCP proxy on a port of this machine. at: the address at which it listens."""

    def __init__(self, host: str, port: int, at: str = "127.0.0.1"):
        self._to = (host, port)
        self._open = True
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server((at, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and each new one as soon as it is accepted."""
        self._open = False
        for each in self._pairs:
            _shut(each)
        self._pairs.clear()

    def restore(self) -> None:
        self._open = True

    def close(self) -> None:
        self.cut()
        _shut(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                here.close()
                continue
            there = socket.create_connection(self._to)
            self._pairs += [here, there]
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _shut(sink)
    _shut(source)


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
