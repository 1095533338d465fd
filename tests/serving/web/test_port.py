"""A port takes in as many connections as it may, looks after them, and stops without losing one."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from serving.core.messages import Reply
from serving.web.admission import Gate
from serving.web.front import connection, port
from serving.web.front.port import Port
from serving.web.front.request_cycle import RequestCycle
from tests.serving.web.request_cycles import Front, loop_on_a_thread
from tests.waiting import until

PING = b"GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
LIMIT = 4


class SmallPort:
    """A port of four connections. Each request waits until the test answers it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float = 30.0):
        self.cycles: list[RequestCycle] = []
        self.front = Front(loop, self.cycles.append, timeout)
        self.port = Port(self.front.rules, "127.0.0.1", 0)
        self.port.limit = LIMIT

    def on_loop(self, function: Callable[[], object]) -> object:
        """Call a function on the loop and return what it returns."""
        done: Future[object] = Future()

        def call() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self.front.loop.call_soon_threadsafe(call)
        return done.result(20)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port.number), timeout=20)

    def connected(self, count: int) -> None:
        """Wait until there are so many connections."""
        until(lambda: len(self.port.connections) == count)


@pytest.fixture
def served() -> Iterator[SmallPort]:
    with loop_on_a_thread() as loop:
        made = SmallPort(loop)
        made.on_loop(made.port.start)
        yield made
        with contextlib.suppress(OSError):  # the test may have closed it
            made.on_loop(made.port.stop_listening)


def pong(client: socket.socket) -> bool:
    """Return whether a client's ping is answered."""
    client.sendall(PING)
    return b"pong" in client.recv(1000)


def ended(client: socket.socket) -> bool:
    """Return whether the server has ended a connection."""
    with contextlib.suppress(ConnectionResetError):
        return client.recv(1000) == b""
    return True


def test_the_oldest_that_never_sent_a_byte_makes_room_for_a_new_one(
    served: SmallPort, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(LIMIT):
            clients.append(stack.enter_context(served.connect()))
            served.connected(number + 1)
        assert pong(clients[0])
        with caplog.at_level(logging.WARNING):
            newest = [stack.enter_context(served.connect()) for _ in range(2)]
            assert all(pong(each) for each in newest)
        assert ended(clients[1])
        assert ended(clients[2])
        assert pong(clients[0])
        assert pong(clients[3])
        served.connected(LIMIT)
        assert [record.message for record in caplog.records if "connection limit of 4" in record.message] != []
        assert len(caplog.records) == 1  # a flood of connections must not be one of the log too


def test_a_call_to_accept_while_nobody_waits_ends_no_connection(served: SmallPort) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(LIMIT)]
        served.connected(LIMIT)
        served.on_loop(served.port._accept)
        assert all(pong(each) for each in clients)


def test_a_connection_that_is_just_being_opened_counts_once(
    served: SmallPort, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = served.port.opened
    with contextlib.ExitStack() as stack:
        clients: list[socket.socket] = []

        def open_and_let_the_last_one_in(connection: connection.Connection) -> None:
            opened(connection)
            if len(clients) == LIMIT - 1:
                clients.append(stack.enter_context(served.connect()))
                served.port._accept()

        monkeypatch.setattr(served.port, "opened", open_and_let_the_last_one_in)
        for number in range(LIMIT - 1):
            clients.append(stack.enter_context(served.connect()))
            served.connected(min(number + 1, LIMIT - 2) if number < LIMIT - 2 else LIMIT)
        assert all(pong(each) for each in clients)
    assert caplog.messages == []


def test_where_all_have_spoken_the_one_that_is_idle_for_longest_makes_room(served: SmallPort) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(LIMIT)]
        assert all(pong(each) for each in clients)
        clients[1].sendall(POST)
        until(lambda: len(served.cycles) == 1)
        assert pong(clients[0])
        newest = [stack.enter_context(served.connect()) for _ in range(2)]
        for each in newest:
            each.sendall(PING)
            assert b"pong" in each.recv(1000)
        assert all(ended(clients[number]) for number in (2, 3))
        assert pong(clients[0])
        assert pong(newest[0])
        served.cycles[0].finish_later(Reply(b"{}"))
        assert clients[1].recv(1000).endswith(b"{}")


def test_where_all_are_in_use_a_new_one_waits_and_the_pod_is_not_ready(
    served: SmallPort, caplog: pytest.LogCaptureFixture
) -> None:
    other = Gate(9, lambda: False, 9)
    other.open()
    admin = Port(dataclasses.replace(served.front.rules, gate=other), "127.0.0.1", 0)
    served.on_loop(admin.start)

    def ping() -> bytes:
        with socket.create_connection(("127.0.0.1", admin.number), timeout=20) as probe:
            probe.sendall(PING)
            return probe.recv(1000)

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(LIMIT)]
        assert b" 200 " in ping()
        for each in clients:
            each.sendall(POST)
        until(lambda: len(served.cycles) == LIMIT)
        late = stack.enter_context(served.connect())
        late.sendall(PING)
        until(lambda: b" 503 " in (found := ping()) and b"all connections of this pod are in use" in found)
        assert len(served.port.connections) == LIMIT
        why = f"port {served.port.number}: not ready, since all {LIMIT} connections are in use"
        assert [each.getMessage() for each in caplog.records].count(why) == 1
        served.cycles[0].finish_later(Reply(b"{}"))
        assert clients[0].recv(1000).endswith(b"{}")
        assert b"pong" in late.recv(1000)
        assert ended(clients[0])
        until(lambda: b" 200 " in ping())
        clients[1].close()
        late.close()
        until(lambda: b" 200 " in ping())
    served.connected(0)
    until(lambda: not admin.connections)
    served.on_loop(admin.stop_listening)


def test_a_connection_beyond_the_descriptors_waits_and_does_not_flood_the_log(
    served: SmallPort, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as late, served.connect() as first, caplog.at_level(logging.WARNING):
        late.settimeout(20)
        assert pong(first)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            late.connect(("127.0.0.1", served.port.number))
            until(lambda: bool(caplog.records))
            time.sleep(0.3)
            assert pong(first)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(caplog.records) < 10  # each turn of the loop would bring one
        assert "was not accepted" in caplog.records[0].message
        assert pong(late)


def test_a_port_that_is_taken_is_named_with_its_cure(served: SmallPort) -> None:
    number = served.port.number
    with pytest.raises(OSError, match=f"127.0.0.1:{number}: Address already in use; "):
        Port(served.front.rules, "127.0.0.1", number)


@pytest.mark.parametrize("number", [-1, 65536, 10**20])
def test_a_number_that_is_no_port_is_an_error_in_words(served: SmallPort, number: int) -> None:
    with pytest.raises(OSError, match="choose others with"):
        Port(served.front.rules, "127.0.0.1", number)


def test_a_port_may_listen_on_the_loopback_of_the_newer_protocol(served: SmallPort) -> None:
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("this machine has no IPv6")
    made = Port(served.front.rules, "::1", 0)
    served.on_loop(made.start)
    with socket.create_connection(("::1", made.number), timeout=20) as client:
        assert pong(client)
    served.on_loop(made.stop_listening)


def test_the_sweep_refuses_the_slow_and_closes_the_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 1.5)
    monkeypatch.setattr(port, "SWEEP_SECONDS", 0.05)
    with loop_on_a_thread() as loop:
        made = SmallPort(loop, timeout=1.0)
        made.on_loop(made.port.start)
        with made.connect() as slow, made.connect() as silent, made.connect() as idle:
            slow.sendall(POST[:-1])
            assert pong(idle)
            assert b" 408 " in slow.recv(1000).split(b"\r\n")[0]
            assert ended(silent)
            assert ended(idle)
        made.connected(0)
        assert made.front.refusals == ["slow_body"]
        made.on_loop(made.port.stop_listening)


def test_a_port_is_quiet_while_no_connection_has_a_request(served: SmallPort) -> None:
    assert served.on_loop(served.port.quiet)
    with served.connect() as client:
        assert pong(client)
        until(lambda: bool(served.on_loop(served.port.quiet)))  # the task that opened the connection ends after the answer
        client.sendall(POST[:10])
        until(lambda: not served.on_loop(served.port.quiet))
        client.sendall(POST[10:])
        until(lambda: len(served.cycles) == 1)
        assert not served.on_loop(served.port.quiet)
        served.on_loop(lambda: served.cycles[0].finish(Reply(b"{}")))
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        until(lambda: bool(served.on_loop(served.port.quiet)))


def test_a_port_is_idle_once_no_byte_has_come_for_so_long(served: SmallPort) -> None:
    assert served.port.idle(1000)
    with served.connect() as client:
        assert pong(client)
        assert not served.port.idle(1000)
        until(lambda: served.port.idle(0.05))


def test_a_port_that_stops_takes_in_what_has_connected_and_nothing_later(served: SmallPort) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert go_on.wait(20)
        served.port.turn_away()
        served.port.stop_listening()

    held = served.front.loop.call_soon_threadsafe(hold)
    assert entered.wait(20)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(3)]  # by the system alone: the loop is held
        for each in clients:
            each.sendall(POST)
        go_on.set()
        until(lambda: len(served.cycles) == 3)
        with pytest.raises((ConnectionError, TimeoutError)), served.connect():
            pass
        assert not served.on_loop(served.port.quiet)
        for cycle in served.cycles:
            cycle.finish_later(Reply(b"{}"))
        assert all(each.recv(1000).startswith(b"HTTP/1.1 200 OK") for each in clients)
    served.connected(0)
    assert not served.port._listens  # a connection that ends does not open the port again
    assert not held.cancelled()


def test_a_port_that_turns_away_makes_no_new_connections(served: SmallPort) -> None:
    with served.connect() as client:
        assert pong(client)
        served.on_loop(served.port.turn_away)
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", served.port.number), timeout=0.3)
        assert pong(client)


@pytest.mark.parametrize(
    "line", [b"POST /api/ping", b"GET /api/ping/", b"GET /api/pings", b"GET /API/ping", b"GET /api/pin%67"]
)
def test_what_looks_like_a_ping_is_a_request_like_any_other(served: SmallPort, line: bytes) -> None:
    with served.connect() as client:
        client.sendall(line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: len(served.cycles) == 1)
        served.cycles[0].finish_later(Reply(b"{}"))
        assert client.recv(1000).endswith(b"{}")
