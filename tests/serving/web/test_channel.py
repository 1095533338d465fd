"""A client that goes away before a worker begins its request: nothing runs for it, and it is counted nevertheless."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from serving.base.errors import ServingError
from serving.web import front
from serving.web.admission import Gate
from serving.web.front.parser import Parser
from serving.web.held_bodies import Bodies
from tests.waiting import until

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
UNFINISHED = POST.replace(b"2", b"300") + bytes(200)
LAST_PING = b"GET /api/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class OneWorkerServer:
    """A server with one worker, which each request holds until `free` is set. Four requests are admitted."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.ran = 0
        self.refused: list[ServingError] = []
        self.gate = Gate(4, lambda: False)
        self.gate.open()
        self.sockets: dict[int, Any] = {}
        gate, noted = self.gate, self.refused
        self.bodies = Bodies(1000)
        rules = front.Rules(
            gate, gate, self.bodies, 30, 30, 1000, lambda error, own: b"{}", lambda error, begin: noted.append(error)
        )
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
def served() -> Iterator[OneWorkerServer]:
    made, over = OneWorkerServer(), threading.Event()

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


def test_a_client_that_goes_away_before_a_worker_is_free_is_counted(served: OneWorkerServer) -> None:
    with served.ask() as first:
        until(lambda: served.ran == 1)
        with served.ask():
            until(lambda: served.gate.working() == 2)
        until(lambda: len(served.server.active_channels) == 1)
        served.free.set()
        assert first.recv(15) == b"HTTP/1.1 200 OK"
        until(served.gate.empty)
    assert served.ran == 1
    assert [error.reason for error in served.refused] == ["client_gone"]


def test_a_request_releases_what_it_held_however_it_ends(served: OneWorkerServer) -> None:
    served.free.set()
    with served.ask() as one:
        assert one.recv(15) == b"HTTP/1.1 200 OK"
        until(lambda: served.bodies.held == 0)
        one.sendall(b"GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\n")
        until(lambda: served.bodies.held == 0)
        one.sendall(UNFINISHED)
        until(lambda: served.bodies.held == len(UNFINISHED))
    until(lambda: served.bodies.held == 0)
    served.free.clear()
    with served.ask() as one:
        until(lambda: served.gate.working() == 1)
        one.sendall(POST + POST)
        until(lambda: served.bodies.held == 3 * len(POST))
    served.free.set()
    until(lambda: served.bodies.held == 0)


@pytest.mark.parametrize(
    ("sent", "limit"),
    [(POST + POST + POST, 1), (POST + POST + UNFINISHED, 1), (POST + LAST_PING + POST, 4)],
    ids=["a whole request behind a refused one", "a part of one behind a refused one", "a request behind a last ping"],
)
def test_a_request_that_is_dropped_with_its_connection_holds_nothing(served: OneWorkerServer, sent: bytes, limit: int) -> None:
    with socket.create_connection(("127.0.0.1", served.server.effective_port), timeout=20) as client:
        client.sendall(sent)
        until(lambda: served.gate.working() == 1 and served.bodies.held == len(sent))
        served.gate.limit = limit
        served.free.set()
        answers = client.makefile("rb").read()
    assert answers.count(b"HTTP/1.1 ") == 2
    until(served.gate.empty)
    assert (served.ran, served.bodies.held) == (1, 0)


def test_a_connection_that_is_closed_between_two_requests_holds_nothing(served: OneWorkerServer) -> None:
    """The worker has taken the first request off the list, and not yet begun the second, when the I/O thread closes."""

    class Requests(list[Parser]):
        def pop(self, at: Any = -1) -> Parser:
            ended = super().pop(at)
            channel.will_close = True
            served.server.pull_trigger()
            until(lambda: not served.server.active_channels)
            return ended

    with served.ask() as client:
        client.sendall(POST)
        until(lambda: served.bodies.held == 2 * len(POST))
        channel = next(iter(served.server.active_channels.values()))
        channel.requests = Requests(channel.requests)
        served.free.set()
        until(served.gate.empty)
    until(lambda: served.bodies.held == 0, 5)
    assert served.ran == 1


def test_a_body_that_comes_behind_another_request_is_refused_in_its_turn(served: OneWorkerServer) -> None:
    with served.ask() as first, served.ask() as second:
        until(lambda: served.gate.working() == 2)
        first.sendall(POST.replace(b"2", b"800") + bytes(500))
        until(lambda: served.bodies.held > 500)
        second.sendall(POST.replace(b"2", b"800") + bytes(400))
        until(lambda: 300 < served.bodies.held < 600)
        assert served.refused == []
        served.free.set()
        assert read_until(first, b"429").startswith(b"HTTP/1.1 200 OK")
        second.sendall(bytes(398))
        read_until(second, b"200 OK", 2)
        assert [error.reason for error in served.refused] == ["bodies_full"]
    until(lambda: served.bodies.held == 0)


def read_until(client: socket.socket, words: bytes, times: int = 1) -> bytes:
    """Return what a client has received once these words have come `times` times."""
    found = b""
    while found.count(words) < times:
        more = client.recv(1000)
        assert more, found
        found += more
    return found
