"""Clients that would have the process hold much: its memory stays bounded, and others are answered."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from serving.base.process import peak_bytes, resident_bytes
from tests.memory import MIB, forget_peak, settled_bytes
from tests.running import Running, get, make_service, running
from tests.serving import echo_service
from tests.serving.echo_service import PING, PONG, Client, ask, both_paths, echo_request, get_request
from tests.serving.floods import Flood, flooding, probing
from tests.waiting import until

LITTLE = 48 * MIB  # what a process takes and gives back by itself included
LARGE = 24_000_000  # bytes of one answer
SECONDS = 2.0
CHUNKED = b"POST /api/small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
EXTENSIONS = 12_000_000  # bytes
ENDLESS = {
    "one long extension": CHUNKED + b"1;" + b"a" * EXTENSIONS,
    "an extension of many parts": CHUNKED + b"1" + b";a=b" * (EXTENSIONS // 4),
    "an extension in quotes": CHUNKED + b'1;a="' + b'\\"' * (EXTENSIONS // 2),
    "three whole extensions": CHUNKED + (b"1" + b";a" * (EXTENSIONS // 6) + b"\r\nx\r\n") * 3 + b"0\r\n\r\n",
    "zeros of a size": CHUNKED + b"0" * EXTENSIONS,
    "a long trailer": CHUNKED + b"0\r\nA: " + b"b" * EXTENSIONS,
    "many trailers": CHUNKED + b"0\r\n" + b"A: b\r\n" * (EXTENSIONS // 6),
    "a long first line": b"GET /" + b"a" * EXTENSIONS,
    "many fields": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * (EXTENSIONS // 6),
}
UNREAD = {
    "pings": (Flood(4, b"", PING * 2_000, reads=False), LITTLE),
    "statuses": (Flood(4, b"", get_request("/status") * 2_000, reads=False), LITTLE),
    "large answers": (Flood(1, b"", get_request(f"/large?bytes={LARGE}") * 200, reads=False), LITTLE + 3 * LARGE),
    "large answers of four": (Flood(4, b"", get_request(f"/large?bytes={LARGE}") * 200, reads=False), LITTLE + 12 * LARGE),
}


@contextmanager
def growing_at_most(service: Running, bound: int) -> Iterator[None]:
    """Check after a block that the process' memory was never larger by so many bytes than before it."""
    process = service.process.pid
    before = settled_bytes(process)
    forget_peak(process)
    yield
    growth = peak_bytes(process) - before
    assert growth < bound, f"the process grew by {growth / MIB:.0f} MiB"


@pytest.mark.parametrize("stays", [True, False], ids=["the clients are too slow", "the clients go away"])
def test_memory_of_bodies_that_never_came_whole_goes_back_to_the_system(
    tmp_path_factory: pytest.TempPathFactory, stays: bool
) -> None:
    head = f"POST /api/small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {MIB}\r\n\r\n".encode()
    with echo_service.serving(tmp_path_factory, "upload_timeout_second = 2") as service, ExitStack() as stack:
        before = resident_bytes(service.process.pid)
        clients = [stack.enter_context(Client(service.port)) for _ in range(150)]
        for part in (head, *[bytes(20_000)] * 40):
            for client in clients:
                client.send(part)
        until(lambda: resident_bytes(service.process.pid) > before + 2 * LITTLE)
        for client in clients if stays else ():
            answer = client.answer()
            assert answer.status == 408
        if not stays:
            stack.close()
        until(lambda: resident_bytes(service.process.pid) < before + LITTLE)


@pytest.mark.parametrize("data", ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_refused_before_it_is_held(service: Running, data: bytes) -> None:
    with growing_at_most(service, LITTLE), probing(service), Client(service.port) as client:
        sending = threading.Thread(target=client.send, args=(data,))  # a server may answer at once, and discard the rest
        sending.start()
        answer = client.answer()
        sending.join(60)
        assert (answer.status, answer.headers["connection"]) in [(400, "close"), (413, "close"), (431, "close")]


def test_a_body_of_many_small_chunks_with_long_extensions_is_not_held(service: Running) -> None:
    flood = Flood(4, CHUNKED, (b"1;" + b"a" * 1_000 + b"\r\nx\r\n") * 2_000)
    with growing_at_most(service, LITTLE), flooding(service, flood), probing(service):
        time.sleep(SECONDS)
    assert flood.sent > EXTENSIONS


@pytest.mark.parametrize(("flood", "bound"), UNREAD.values(), ids=UNREAD)
def test_a_client_that_pipelines_and_never_reads_holds_little(service: Running, flood: Flood, bound: int) -> None:
    with growing_at_most(service, bound), flooding(service, flood), probing(service):
        time.sleep(SECONDS)
        assert ask(service.port, PING).body == PONG
    assert flood.sent > len(PING)


@both_paths
def test_clients_that_ask_a_model_on_and_on_and_never_read_hold_little(service: Running) -> None:
    flood = Flood(64, b"", echo_request(1), reads=False)
    with growing_at_most(service, LITTLE), flooding(service, flood), probing(service):
        time.sleep(SECONDS)
        assert ask(service.port, echo_request(2)).status in (200, 429)
    assert flood.sent > 64 * 2**10


def test_answers_that_many_clients_do_not_take_are_bounded_together(tmp_path_factory: pytest.TempPathFactory) -> None:
    with echo_service.serving(tmp_path_factory, 'memory = "512Mi"') as service, contextlib.ExitStack() as stack:
        process = service.process.pid
        before = settled_bytes(process)
        forget_peak(process)
        clients = [stack.enter_context(Client(service.port)) for _ in range(32)]
        for client in clients:
            client.send(echo_service.get_request("/large?bytes=16000000"))
            assert client.socket.recv(1000).startswith(b"HTTP/1.1 200 ")  # and no more for now
        assert peak_bytes(process) - before < 128 * MIB + 96 * MIB  # the bound, and what one answer in the making takes
        with clients[-1].socket.makefile("rb") as last:
            assert len(last.read(15_990_000)) == 15_990_000, "a client that takes its answer gets it"
        assert ask(service.port, PING).body == PONG
        until(lambda: service.metric("monopod_requests_in_progress", absent=-1) == 0)


def test_a_new_client_gets_its_answer_where_the_system_took_more_of_the_older_answers(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with echo_service.serving(tmp_path_factory, 'memory = "512Mi"') as service, contextlib.ExitStack() as stack:
        for _ in range(16):
            client = stack.enter_context(Client(service.port))
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
            client.send(echo_service.get_request("/large?bytes=16000000"))
            assert client.socket.recv(1000).startswith(b"HTTP/1.1 200 ")  # and no more for now
        for _ in range(8):
            with Client(service.port) as last:
                last.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 2**10)
                last.send(echo_service.get_request("/large?bytes=16000000"))
                time.sleep(0.2)
                found = last.answer()
                assert len(found.body) == 16_000_000


SERVER = """
from serving.service.service import Service


class Measures(Service):
    def handle(self, request):
        return len(request.image_bytes or b"")
"""


def longest(url: str, seconds: float) -> float:
    """Return how long the slowest of many requests in a row took, in seconds."""
    end, found = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        began = time.monotonic()
        assert get(url)[0] == 200
        found = max(found, time.monotonic() - began)
        time.sleep(0.02)
    return found


PROBE_SECONDS = 5  # the timeout of Kubernetes' probes


@pytest.fixture(scope="module")
def measures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(make_service(tmp_path_factory.mktemp("measures") / "small", 'memory = "2Gi"', SERVER)) as one:
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


@pytest.mark.parametrize(
    ("document", "status"),
    [(b"[" + b"[]," * 1_899_999 + b"[]]", 400), (b'{"data":[' + b"[1,2]," * 999_990 + b"[]]}", 200)],
    ids=["too many arrays", "as many as are read"],
)
def test_liveness_answers_while_six_clients_send_arrays_in_a_loop(measures: Running, document: bytes, status: int) -> None:
    with looping(lambda: get(measures.url + "/api/small", document, {"Content-Type": "application/json"})[0], 6) as statuses:
        assert longest(measures.admin + "/livez", 3) < PROBE_SECONDS
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
