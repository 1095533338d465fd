"""One connection on a loop of its own, with one worker thread: what it holds and counts, however its requests end."""

import asyncio
import contextlib
import gc
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import uvloop

from serving.base.errors import ServingError
from serving.web.admission import Gate
from serving.web.app import WsgiThreads
from serving.web.front.held_bytes import Bodies
from serving.web.front.port import Port
from serving.web.front.request_cycle import Deadlines, RequestCycle, Rules
from tests.waiting import until

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
UNFINISHED = POST.replace(b"2", b"300") + bytes(200)
LAST_PING = b"GET /api/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BROKEN = b"no request\r\n\r\n"


class OneWorkerServer:
    """A port with one worker, which each request holds until `free` is set. Four requests are admitted."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.free = threading.Event()
        self.ran = 0
        self.ends: list[str] = []  # the reason with which each request ended
        self.gate = Gate(4, lambda: False)
        self.gate.open()
        self.bodies = Bodies(1000)
        rules = Rules(
            loop, self.gate, self.gate, self.bodies, Deadlines(loop), 30, 30, 1000, WsgiThreads(self._answer, 1).run,
            self._ended, self._refused,
        )  # fmt: skip
        self.port = Port(rules, "127.0.0.1", 0)

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.ran += 1
        assert self.free.wait(20)
        start("200 OK", [("Content-Length", "2")])
        return [b"{}"]

    def _ended(self, cycle: RequestCycle, status: int, reason: str, ended: float) -> None:
        self.ends.append(reason)

    def _refused(self, error: ServingError, begin: float) -> None:
        self.ends.append(error.reason)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port.number), timeout=20)

    def ask(self) -> socket.socket:
        client = self.connect()
        client.sendall(POST)
        return client


@pytest.fixture
def served() -> Iterator[OneWorkerServer]:
    loop = uvloop.new_event_loop()
    made = OneWorkerServer(loop)
    loop.call_soon(made.port.start)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield made
    made.free.set()
    until(made.gate.empty)
    loop.call_soon_threadsafe(made.port.stop_listening)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


def test_a_client_that_goes_away_before_a_worker_is_free_is_counted(served: OneWorkerServer) -> None:
    with served.ask() as first:
        until(lambda: served.ran == 1)
        with served.ask():
            until(lambda: served.gate.working() == 2)
        until(lambda: len(served.port.connections) == 1)
        assert served.ends == ["client_gone"]
        served.free.set()
        assert first.recv(15) == b"HTTP/1.1 200 OK"
        until(served.gate.empty)
    assert served.ran == 1
    assert served.ends == ["client_gone", ""]


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


@pytest.mark.parametrize("last", [LAST_PING, BROKEN], ids=["a last request", "what is no request"])
def test_a_request_behind_the_end_of_its_connection_holds_nothing_and_is_not_run(served: OneWorkerServer, last: bytes) -> None:
    with served.connect() as client:
        client.sendall(POST + last + POST)
        until(lambda: served.gate.working() == 1 and served.bodies.held == len(POST + last + POST))
        served.free.set()
        answers = client.makefile("rb").read()
    assert len(re.findall(rb"HTTP/1.1 \d", answers)) == 2
    until(served.gate.empty)
    assert (served.ran, served.bodies.held) == (1, 0)


def test_requests_behind_a_refused_one_get_answers_of_their_own(served: OneWorkerServer) -> None:
    with served.connect() as client:
        client.sendall(POST + POST + POST + LAST_PING)
        until(lambda: served.gate.working() == 1)
        served.gate.limit = 0
        served.free.set()
        answers = client.makefile("rb").read()
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"429", b"429", b"200"]
    assert (served.ran, served.bodies.held) == (1, 0)


def test_a_connection_that_is_closed_while_its_request_runs_holds_nothing(served: OneWorkerServer) -> None:
    with served.ask() as client:
        client.sendall(POST)
        until(lambda: served.bodies.held == 2 * len(POST))
    until(lambda: served.bodies.held == 0, 5)
    served.free.set()
    until(served.gate.empty)
    assert served.ran == 1


def test_a_body_that_comes_behind_another_request_is_refused_in_its_turn(served: OneWorkerServer) -> None:
    with served.ask() as first, served.ask() as second:
        until(lambda: served.gate.working() == 2)
        first.sendall(POST.replace(b"2", b"800") + bytes(500))
        until(lambda: served.bodies.held > 500)
        second.sendall(POST.replace(b"2", b"800") + bytes(400))
        until(lambda: 300 < served.bodies.held < 600)
        assert served.ends == []
        served.free.set()
        assert read_until(first, b"429").startswith(b"HTTP/1.1 200 OK")
        second.sendall(bytes(398))
        read_until(second, b"200 OK", 2)
        assert served.ends.count("bodies_full") == 1
    until(lambda: served.bodies.held == 0)


def read_until(client: socket.socket, words: bytes, times: int = 1) -> bytes:
    """Return what a client has received once these words have come `times` times."""
    found = b""
    while found.count(words) < times:
        more = client.recv(1000)
        assert more, found
        found += more
    return found


def test_a_body_that_a_client_leaves_unfinished_is_freed_at_once(served: OneWorkerServer) -> None:
    large, gc_was_on, before = 3 * 2**20, gc.isenabled(), len(files_in_tmp())
    gc.disable()  # what only the collector frees may stay for minutes
    try:
        object.__setattr__(served.port.rules, "max_body", 2 * large)
        served.bodies.limit = 10 * large
        for number in range(3):
            with served.connect() as client:
                client.sendall(POST.replace(b"2", b"%d" % (2 * large)) + bytes(large))
                until(lambda: served.bodies.held > large)
                assert len(files_in_tmp()) == before + 1, f"after {number} bodies"
            until(lambda: served.bodies.held == 0)
            until(lambda: len(files_in_tmp()) == before, seconds=5)
    finally:
        if gc_was_on:
            gc.enable()


def test_the_body_of_a_request_that_is_over_is_freed_though_no_thread_has_seen_it(served: OneWorkerServer) -> None:
    large, before = 3 * 2**20, len(files_in_tmp())
    object.__setattr__(served.port.rules, "max_body", large)
    served.bodies.limit = 10 * large
    with served.ask():
        until(lambda: served.ran == 1)  # the only worker is busy from now on
        with served.connect() as client:
            client.sendall(POST.replace(b"2", b"%d" % large, 1)[:-2] + bytes(large))
            until(lambda: served.gate.working() == 2)
            assert len(files_in_tmp()) == before + 1
        until(lambda: served.gate.working() == 1)
        until(lambda: len(files_in_tmp()) == before, seconds=5)


def test_a_client_whose_answer_fails_on_its_way_does_not_wait_for_ever(served: OneWorkerServer) -> None:
    def fail(*told: object) -> None:
        raise RuntimeError("the metrics broke")

    object.__setattr__(served.port.rules, "ended", fail)
    served.free.set()
    with served.ask() as client:
        client.settimeout(5)
        assert client.recv(100) == b"", "the connection ends"
    assert served.gate.empty()
    assert served.bodies.held == 0


def files_in_tmp() -> list[str]:
    """Return the unnamed files that this process has open, as bodies are."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [name for name in found if name.endswith("(deleted)")]
