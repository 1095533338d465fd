"""Listens on ports of this pod's loopback, and carries bytes to other addresses and back, beside whatever else Python runs.

LOOPBACK names them, as "9095=10.0.0.1:4000 5432=10.0.0.1:4001". See tests/conf/rollout/loopback.py.
"""

import contextlib
import os
import socket
import threading


def carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def accept(listener: socket.socket, host: str, port: int) -> None:
    while True:
        here, _ = listener.accept()
        try:
            there = socket.create_connection((host, port))
        except OSError:
            here.close()
            continue
        for source, sink in ((here, there), (there, here)):
            threading.Thread(target=carry, args=(source, sink), daemon=True).start()


for item in os.environ.get("LOOPBACK", "").split():
    at, _, to = item.partition("=")
    name, _, number = to.rpartition(":")
    listening = socket.create_server(("127.0.0.1", int(at)))
    threading.Thread(target=accept, args=(listening, name, int(number)), daemon=True).start()
