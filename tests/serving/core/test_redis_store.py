"""A Redis that answers, is silent, sends nonsense, or is not there."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from serving.api import StartError
from serving.core import redis_store
from serving.core.redis_store import HEAD, MAGIC, SECONDS, WHOLE, RedisStore, _checksum
from serving.telemetry.metrics import Metrics
from tests.waiting import until

ANSWERS_PING = b"+PONG\r\n"


@contextmanager
def listening(answer: bytes, port: int = 0) -> Iterator[tuple[int, list[float]]]:
    """A server that sends `answer` to each connection, or nothing where it is empty, and notes when each came."""
    asked: list[float] = []
    with socket.create_server(("127.0.0.1", port)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                asked.append(time.monotonic())
                held.append(connection)
                if answer:
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in held:
                connection.close()


@contextmanager
def serving(*answers: bytes, pause: float) -> Iterator[int]:
    """A server for one connection. It sends an answer to each command, byte by byte, and hangs up after the last."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                for answer in answers:
                    connection.recv(1000)
                    for at in range(len(answer)):
                        connection.sendall(answer[at : at + 1])
                        if over.wait(pause if answer is not ANSWERS_PING else 0):
                            return
                over.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join(5)


@dataclass
class CountedStore:
    """A store, and the failures that it counts."""

    url: str
    max_bytes: int = 100

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.store = RedisStore(self.url, self.max_bytes, 60, self.metrics)

    def get(self, key: str) -> bytes | None:
        found = self.store.get(key)
        return found and found[1]

    @property
    def unreachable(self) -> float | None:
        return self.metrics.registry.get_sample_value("monopod_cache_errors_total", {"kind": "unreachable"})


def test_a_redis_that_accepts_and_says_nothing_costs_one_time_out_and_is_left_alone() -> None:
    with listening(b"") as (port, asked):
        began = time.monotonic()
        store = CountedStore(f"redis://127.0.0.1:{port}")
        store.store.ping()
        first = time.monotonic() - began
        assert SECONDS <= first < SECONDS + 0.5
        began = time.monotonic()
        for _ in range(1000):
            assert store.get("a") is None
            store.store.put("a", 1.0, b"value")
        assert time.monotonic() - began < SECONDS * 10  # each of the thousand requests would otherwise wait twice that long
        assert len(asked) == 1
    assert store.unreachable == 1
    assert not store.store.up


def test_an_address_may_name_longer_time_outs() -> None:
    value = HEAD.pack(MAGIC, _checksum("a", 1.0, b"value"), 1.0) + b"value"
    with serving(ANSWERS_PING, b"$%d\r\n%s\r\n" % (len(value), value), pause=SECONDS) as port:
        store = CountedStore(f"redis://127.0.0.1:{port}?socket_timeout=1&socket_connect_timeout=1", 5)
        store.store.ping()
        assert store.get("a") == b"value"  # it took longer than WHOLE of the usual time-outs
        assert store.store.up


def test_a_server_that_is_no_redis_is_no_cache_and_no_error() -> None:
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (port, _):
        store = CountedStore(f"redis://127.0.0.1:{port}")
        assert store.get("a") is None
    assert store.unreachable == 1


def test_a_redis_that_refuses_connections_is_asked_again_by_one_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "REST", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    store = CountedStore(f"redis://127.0.0.1:{port}")
    store.store.ping()
    assert not store.store.up
    assert [store.get("a") for _ in range(100)] == [None] * 100
    with listening(b"+PONG\r\n", port) as (_, asked):
        until(lambda: store.store.up, seconds=5)
    assert len(asked) == 1


def test_an_answer_that_comes_drop_by_drop_is_not_waited_for_to_its_end() -> None:
    with serving(ANSWERS_PING, b"$40000\r\n" + b"x" * 200, pause=0.1) as port:
        store = CountedStore(f"redis://127.0.0.1:{port}?socket_timeout=0.3&socket_connect_timeout=0.3", 40_000)
        store.store.ping()
        assert store.store.up
        began = time.monotonic()
        assert store.get("a") is None
        assert time.monotonic() - began < 2 * WHOLE * 0.3  # the bytes take 20 s in all, and none comes too late for a time-out
    assert store.unreachable == 1
    assert not store.store.up


def test_a_name_server_that_says_nothing_holds_up_neither_the_start_nor_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found.wait(20) and [])
    try:
        began = time.monotonic()
        store = CountedStore("redis://redis.cache:6379")
        assert [store.get("a") for _ in range(100)] == [None] * 100
        assert time.monotonic() - began < 2 * WHOLE * SECONDS
        assert not store.store.up
    finally:
        found.set()


@pytest.mark.parametrize(
    "url",
    [
        "redis//:hunter2@host",
        "http://:hunter2@host",
        "redis://:hunter2@host:port",
        "hunter2",
        "",
        *(f"redis://:hunter2@host?socket_timeout={value}" for value in ("0", "-1", "nan", "inf", "11", "soon", "false")),
        "redis://:hunter2@host?socket_connect_timeout=0",
    ],
)
def test_a_wrong_address_ends_the_start_in_words_that_do_not_repeat_it(url: str) -> None:
    with pytest.raises(StartError, match="REDIS_URL is missing") as caught:
        CountedStore(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
