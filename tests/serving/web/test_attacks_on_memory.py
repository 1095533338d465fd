"""Clients that would have the process hold much: its memory stays bounded, and others are answered."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from serving.base.process import peak_bytes, resident_bytes
from tests.memory import MIB, forget_peak, settled_bytes
from tests.running import Running
from tests.serving import echo_service
from tests.serving.echo_service import PING, PONG, Client, ask, get
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
    "statuses": (Flood(4, b"", get("/status") * 2_000, reads=False), LITTLE),
    "large answers": (Flood(1, b"", get(f"/large?bytes={LARGE}") * 200, reads=False), LITTLE + 3 * LARGE),
    "large answers of four": (Flood(4, b"", get(f"/large?bytes={LARGE}") * 200, reads=False), LITTLE + 12 * LARGE),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with echo_service.serving(tmp_path_factory) as one:
        settled_bytes(one.process.pid)
        yield one


@contextmanager
def growing_at_most(service: Running, bound: int) -> Iterator[None]:
    """Check after a block that the process' memory was never larger by so many bytes than before it."""
    process = service.process.pid
    before = resident_bytes(process)
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
            assert answer is not None
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
        assert answer is not None
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
