"""Clients that take a large answer slowly get all of it, also where it ends their connection or the pod is shutting down."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from serving.core.messages import Reply
from serving.web import process
from serving.web.admission import DRAINING
from serving.web.front import connection, port
from serving.web.front.port import Port
from serving.web.front.request_cycle import RequestCycle
from tests.serving.web.request_cycles import Front, loop_on_a_thread
from tests.waiting import until

LARGE = 2**21  # bytes of the answer
SYSTEM_BYTES = 2**16  # that the system keeps at each end of a connection
LINGER = 0.1
GET = b"GET / HTTP/1.%d\r\nHost: x\r\n%s\r\n"
HEADS = {
    "close": GET % (1, b"Connection: close\r\n"),
    "an older version": GET % (0, b""),
    "drain": GET % (1, b""),
    "a client that sends no more": GET % (1, b"Connection: close\r\n"),
}


class LargePort:
    """A port whose answers are large. kept: bytes that the system keeps of an answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float, kept: int):
        self.front = Front(loop, self._answer, timeout)
        self.port = Port(self.front.rules, "127.0.0.1", 0)
        self.port._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kept)

    def _answer(self, cycle: RequestCycle) -> None:
        cycle.finish(Reply(bytes(LARGE)))

    def ask(self, head: bytes) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SYSTEM_BYTES)
        client.settimeout(20)
        client.connect(("127.0.0.1", self.port.number))
        client.sendall(head)
        return client


@contextlib.contextmanager
def serving(timeout: float = 30.0, kept: int = SYSTEM_BYTES) -> Iterator[LargePort]:
    with loop_on_a_thread() as loop:
        made = LargePort(loop, timeout, kept)
        loop.call_soon_threadsafe(made.port.start)
        try:
            yield made
        finally:
            if made.port._listens:  # a drain has closed it otherwise
                loop.call_soon_threadsafe(made.port.stop_listening)


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", LINGER)
    monkeypatch.setattr(port, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(process, "LATE_SECONDS", 0.0)
    monkeypatch.setattr(process, "NEXT_REQUEST_SECONDS", 0.1)


def take(client: socket.socket, says: bytes = b"") -> int:
    """Return how many bytes of the body come, taken over several times LINGER. says: what the client sends meanwhile."""
    found, begin = b"", time.monotonic()
    while len(found) < LARGE and (piece := client.recv(SYSTEM_BYTES)):
        found = found + piece if found else piece.partition(b"\r\n\r\n")[2]
        if says:
            client.sendall(says)
        time.sleep(max(0.0, begin + 5 * LINGER * len(found) / LARGE - time.monotonic()))
    return len(found)


@pytest.mark.parametrize("kind", HEADS)
def test_an_answer_that_ends_its_connection_is_sent_as_long_as_the_client_takes_it(kind: str) -> None:
    with serving() as served:
        served.front.gate.state = DRAINING if kind == "drain" else served.front.gate.state
        with served.ask(HEADS[kind]) as client:
            if kind == "a client that sends no more":
                client.shutdown(socket.SHUT_WR)
            assert take(client) == LARGE
            assert client.recv(1) == b""
        until(lambda: not served.port.connections)


def test_an_answer_that_the_system_keeps_is_not_cut_by_bytes_that_come_late() -> None:
    with serving(kept=2 * LARGE) as served, served.ask(HEADS["close"]) as client:
        assert take(client, says=b"x") == LARGE


@pytest.mark.parametrize("kept", [SYSTEM_BYTES, 2 * LARGE], ids=["in the process", "in the system"])
def test_a_client_that_takes_nothing_of_its_last_answer_is_ended(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 0.1)
    with serving(timeout=0.3, kept=kept) as served, served.ask(HEADS["close"]):
        until(lambda: len(served.port.connections) == 1)
        until(lambda: not served.port.connections)


def test_a_client_that_goes_away_in_the_midst_of_its_last_answer_is_ended_at_once() -> None:
    with serving(kept=2 * LARGE) as served:
        with served.ask(HEADS["close"]) as client:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1)
        until(lambda: not served.port.connections, 5)


def test_a_client_that_has_taken_its_last_answer_is_ended_soon() -> None:
    with serving() as served, served.ask(HEADS["close"]) as client:
        begin = time.monotonic()
        assert take(client) == LARGE
        until(lambda: not served.port.connections)
        assert time.monotonic() - begin < 10 * LINGER + 1


class Ended:
    """A reason to end that is there already."""

    signal, failure = 15, ""

    async def wait(self) -> None:
        """Return at once."""


def drained(served: LargePort, longest: float) -> Future[bool]:
    """Begin to drain, and return whether every answer was finished, once that is known."""
    draining = process.serve_until_drained(served.port, served.front.gate, Ended(), 0.0, longest)  # type: ignore[arg-type]
    return asyncio.run_coroutine_threadsafe(draining, served.front.loop)


@pytest.mark.parametrize("kept", [SYSTEM_BYTES, 2 * LARGE], ids=["in the process", "in the system"])
def test_a_drain_waits_for_an_answer_that_is_being_taken(kept: int) -> None:
    with serving(kept=kept) as served, served.ask(HEADS["drain"]) as client:
        until(lambda: len(served.port.connections) == 1)
        times: list[float] = []
        end = drained(served, 20.0)
        end.add_done_callback(lambda _: times.append(time.monotonic()))
        assert take(client) == LARGE
        assert end.result(5)
        assert times[0] > time.monotonic() - 2 * LINGER, "the drain ended while the client was at its answer"


@pytest.mark.parametrize(("timeout", "longest"), [(30.0, 0.3), (0.3, 20.0)], ids=["at its own end", "at the client's"])
def test_a_drain_does_not_wait_for_ever_for_an_answer_that_nobody_takes(
    monkeypatch: pytest.MonkeyPatch, timeout: float, longest: float
) -> None:
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 0.1)
    with serving(timeout, kept=2 * LARGE) as served, served.ask(HEADS["drain"]):
        until(lambda: len(served.port.connections) == 1)
        assert drained(served, longest).result(10) == (timeout < longest)
