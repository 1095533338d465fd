"""A client that goes away before a worker has begun its request: nothing runs for it, and it is counted all the same."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from serving import front
from serving.errors import ServingError
from serving.gate import Gate
from tests.waiting import until

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


class House:
    """A server with one worker, which each request holds until `free` is set, though two are let in."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.ran = 0
        self.refused: list[ServingError] = []
        self.gate = Gate(2, lambda: False)
        self.gate.open()
        self.sockets: dict[int, Any] = {}
        rules = front.Rules(self.gate, 30, 30, 1000, lambda error, own: b"{}", lambda error, begin: self.refused.append(error))
        self.server = front.Server(self._answer, rules, self.sockets, "127.0.0.1", 0, threads=1)

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.ran += 1
        assert self.free.wait(20)
        start("200 OK", [("Content-Length", "2")])
        return [b"{}"]

    def ask(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.server.effective_port), timeout=20)
        client.sendall(POST)
        return client


@pytest.fixture
def house() -> Iterator[House]:
    made, over = House(), threading.Event()

    def run() -> None:
        while not over.is_set():
            front.turn(made.sockets, [made.server])

    loop = threading.Thread(target=run)
    loop.start()
    yield made
    made.free.set()
    over.set()
    loop.join(20)
    made.server.task_dispatcher.shutdown()
    for each in list(made.sockets.values()):
        each.socket.close()


def test_a_client_that_goes_away_before_a_worker_is_free_is_counted(house: House) -> None:
    with house.ask() as first:
        until(lambda: house.ran == 1)
        with house.ask():
            until(lambda: house.gate.working() == 2)
        until(lambda: len(house.server.active_channels) == 1)
        house.free.set()
        assert first.recv(15) == b"HTTP/1.1 200 OK"
        until(house.gate.empty)
    assert house.ran == 1
    assert [error.reason for error in house.refused] == ["client_gone"]
