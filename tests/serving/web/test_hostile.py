"""A served service under attack: good clients and probes are answered, and memory stays bounded."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.base.process import peak_bytes
from tests.memory import MIB, forget_peak, settled_bytes
from tests.running import Running, get, make_service, running
from tests.waiting import until

JSON = {"Content-Type": "application/json"}
PROBE_SECONDS = 5  # the timeout of Kubernetes' probes
SERVER = """
from serving.service.service import Service


class Measures(Service):
    def handle(self, request):
        return len(request.image_bytes or b"")
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(tmp_path_factory.mktemp("hostile") / "small", 'memory = "2Gi"', SERVER)
    with running(folder) as one:
        yield one


@contextmanager
def looping(work: Callable[[], object], count: int) -> Iterator[list[object]]:
    """Repeat a function on a number of threads for the length of a block. Yield its results so far."""
    over, found = threading.Event(), list[object]()

    def loop() -> None:
        while not over.is_set():
            found.append(work())

    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(loop)
        try:
            yield found
        finally:
            over.set()


def longest(url: str, seconds: float) -> float:
    """Return how long the slowest of many requests in a row took, in seconds."""
    end, found = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        began = time.monotonic()
        assert get(url)[0] == 200
        found = max(found, time.monotonic() - began)
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    ("document", "status"),
    [(b"[" + b"[]," * 1_899_999 + b"[]]", 400), (b'{"data":[' + b"[1,2]," * 999_990 + b"[]]}", 200)],
    ids=["too many arrays", "as many as are read"],
)
def test_liveness_answers_while_six_clients_send_arrays_in_a_loop(service: Running, document: bytes, status: int) -> None:
    with looping(lambda: get(service.url + "/api/small", document, JSON)[0], 6) as statuses:
        assert longest(service.admin + "/livez", 3) < PROBE_SECONDS
    assert set(statuses) == {status}


BOUND = 64 * MIB  # of the service below: four times max_body
WHILE_LOOKING = 8 * MIB  # a look at a hundred files takes milliseconds: one body may end, and others take its room, in between
SLOW_CLIENTS = 120
PIECE = bytes(256 * 2**10)


def spooled_bytes(process: int) -> int:
    """Return the bytes of a process' open files without a name, such as spooled bodies."""
    found = 0
    for each in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += each.stat().st_size if str(each.readlink()).endswith("(deleted)") else 0
    return found


class SlowClient:
    """A client that announces 15 MiB, sends them slowly, and begins again when it is refused."""

    def __init__(self, service: Running, method: str):
        self._port, self._method, self.refused = service.port, method, 0
        self._socket = self._begin()

    def send(self) -> None:
        """Send the next bytes, as many as are taken at once."""
        try:
            self._socket.send(PIECE, socket.MSG_DONTWAIT)
            self.refused += bool(select.select([self._socket], [], [], 0)[0])
        except BlockingIOError:
            return
        except OSError:
            self.close()
            self._socket = self._begin()

    def close(self) -> None:
        self._socket.close()

    def _begin(self) -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self._port), timeout=15)
        one.sendall(f"{self._method} /api/small HTTP/1.1\r\nHost: x\r\nContent-Length: {15 * MIB}\r\n\r\n".encode())
        return one


@contextmanager
def slow_clients(service: Running) -> Iterator[list[SlowClient]]:
    """Let a crowd of clients send for the length of a block: first all heads, then the bodies in turn."""
    clients = [SlowClient(service, "GET" if number % 2 else "POST") for number in range(SLOW_CLIENTS)]
    over = threading.Event()

    def lie() -> None:
        while not over.is_set():
            for client in clients:
                client.send()
            time.sleep(0.2)  # 30 MiB each time, 120 MiB a second

    thread = threading.Thread(target=lie)
    thread.start()
    try:
        yield clients
    finally:
        over.set()
        thread.join(20)
        for client in clients:
            client.close()


def test_good_clients_are_answered_while_a_crowd_fills_the_bound_with_unfinished_bodies(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'memory = "256Mi"', SERVER)
    picture, statuses, disk, pings = bytes(300_000), list[int](), list[int](), list[float]()
    with running(folder) as service:
        process = service.process.pid
        before = settled_bytes(process)
        forget_peak(process)
        with slow_clients(service) as clients:
            end = time.monotonic() + 4
            while time.monotonic() < end:
                statuses.append(get(service.url + "/api/small", picture, {"Content-Type": "image/png"})[0])
                pings.append(longest(service.url + "/api/ping", 0.01))
                disk.append(spooled_bytes(process))
        assert set(statuses) == {200}
        assert len(statuses) > 10
        assert sorted(pings)[len(pings) * 9 // 10] < 0.5
        assert max(disk) <= BOUND + WHILE_LOOKING
        assert peak_bytes(process) - before < BOUND + 30 * MIB
        assert sum(client.refused for client in clients) > SLOW_CLIENTS / 2, "the bound was never reached"
        assert service.metric('monopod_shed_total{reason="bodies_full"}') > SLOW_CLIENTS / 2
        until(lambda: spooled_bytes(process) == 0)


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"A:" + b" " * 60_000 + b"x", 200), (b"A: x" + b"\r\n x" * 15_000, 431), (b"A:" + b"\t" * 60_000 + b"\x01", 400)],
    ids=["spaces", "folds", "a control character"],
)
def test_a_head_of_folds_or_spaces_is_answered_at_once(service: Running, line: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as one:
        began = time.monotonic()
        one.sendall(b"GET /api/ping HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
        assert one.recv(12) == f"HTTP/1.1 {status}".encode()
        assert time.monotonic() - began < 5
