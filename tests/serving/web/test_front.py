import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from serving.web.admission import LIGHT_LIMIT
from tests.running import ROOT, Running, get, post_json, running
from tests.waiting import until

FOLDER = ROOT / "tests/services/slow"


@pytest.fixture(scope="module")
def slow() -> Iterator[Running]:
    with running(FOLDER) as service:
        yield service


@pytest.fixture(autouse=True)
def calm(slow: Running) -> Iterator[None]:
    """Let the requests that a test left in the queue end before the next test."""
    yield
    end = time.monotonic() + 10
    while time.monotonic() < end:
        status = json.loads(get(slow.url + "/status")[1])
        if status["queue"]["rows"] == 0 and status["in_progress"] == 0:
            return
        time.sleep(0.02)
    raise AssertionError(f"the service is not calm: {status}")


def connect(service: Running) -> socket.socket:
    s = socket.create_connection(("127.0.0.1", service.port), timeout=15)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def head(length: int | str, *more: str, path: str = "/api/slow", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {length}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def body(seconds: float) -> bytes:
    return json.dumps({"data": [[seconds]]}).encode()


def answer(s: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer."""
    top = b""
    while not top.endswith(b"\r\n\r\n"):  # byte by byte, since another answer may follow
        more = s.recv(1)
        assert more, f"connection closed after {top!r}"
        top += more
    status, *lines = top.decode().strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    rest = s.recv(int(headers["content-length"]), socket.MSG_WAITALL)
    return int(status.split()[1]), headers, rest


def sleep_on(service: Running, seconds: float) -> int:
    return post_json(service.url + "/api/slow", {"data": [[seconds]]})[0]


def rows(service: Running) -> int:
    return int(json.loads(get(service.url + "/rows")[1])["results"])


def busy(service: Running, seconds: float) -> list[Future[int]]:
    """Return the answers of two requests once both run, so that the next requests wait."""
    before = rows(service)
    with_two = ThreadPoolExecutor(2)
    answers = [with_two.submit(sleep_on, service, seconds) for _ in range(2)]
    until(lambda: rows(service) >= before + 2)
    return answers


class Full:
    """A service whose queue is full for a while: two requests run, four wait."""

    def __init__(self, service: Running, seconds: float):
        self.answers = busy(
            service, seconds
        )  # all six at once could be in the queue before the first is taken out, and be refused
        self.answers += [ThreadPoolExecutor(1).submit(sleep_on, service, seconds) for _ in range(4)]
        self.wait(service, 6, 4)

    def wait(self, service: Running, inside: int, rows: int) -> None:
        end = time.monotonic() + 5
        while True:
            status = json.loads(get(service.url + "/status")[1])
            if (status["in_progress"], status["queue"]["rows"]) == (inside, rows):
                break
            assert time.monotonic() < end
            time.sleep(0.01)

    def done(self) -> list[int]:
        return [a.result() for a in self.answers]


def test_a_full_queue_refuses_at_the_head_without_100_continue_and_without_the_body(slow: Running) -> None:
    full = Full(slow, 1.5)
    with connect(slow) as s:
        s.sendall(head(10_000, "Expect: 100-continue"))
        status, headers, text = answer(s)
        assert (status, headers["retry-after"], headers["connection"]) == (429, "1", "close")
        assert "queue is full" in json.loads(text)["error"]
        assert s.recv(1) == b""  # half-closed at once
    assert full.done() == [200] * 6


def test_a_refused_connection_whose_body_ends_soon_serves_on(slow: Running) -> None:
    full = Full(slow, 1.0)
    with connect(slow) as s:
        s.sendall(head(50_000) + b"x" * 10_000)
        status, headers, _ = answer(s)
        assert (status, headers.get("connection")) == (429, None)
        s.sendall(b"x" * 40_000 + head(0, path="/api/ping", method="GET"))
        assert answer(s)[2] == b'{"ping":"pong"}'
        full.done()
        s.sendall(head(len(body(0))) + body(0))
        assert answer(s)[0] == 200


def test_a_refused_client_that_sends_on_reads_its_answer_and_no_reset(slow: Running) -> None:
    with connect(slow) as s:
        s.sendall(head(50_000_000))
        for _ in range(500):
            s.sendall(b"x" * 100_000)
        status, _, text = answer(s)
        assert status == 413
        assert "50000000 bytes, at most 65536" in json.loads(text)["error"]
        assert s.recv(1) == b""


def test_a_chunked_body_over_the_limit_is_a_413(slow: Running) -> None:
    with connect(slow) as s:
        s.sendall(b"POST /api/slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            s.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert answer(s)[0] == 413


def test_a_body_of_just_the_limit_is_taken(slow: Running) -> None:
    with connect(slow) as s:
        s.sendall(head(65536) + body(0).ljust(65536))
        assert answer(s)[0] == 200


def test_an_admitted_client_that_expects_100_continue_gets_it(slow: Running) -> None:
    with connect(slow) as s:
        s.sendall(head(len(body(0)), "Expect: 100-continue"))
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(body(0))
        assert answer(s)[0] == 200


@pytest.mark.parametrize("start", [b"POST /api/slow HTTP/1.1\r\nHost:", head(1000) + b'{"da'], ids=["head", "body"])
def test_a_request_that_comes_too_slowly_is_a_408(slow: Running, start: bytes) -> None:
    with connect(slow) as s:
        s.sendall(start)
        status, headers, text = answer(s)
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(text)["reason"] == "slow_body"


def test_good_clients_get_through_while_200_connections_send_slowly(slow: Running) -> None:
    idlers = [connect(slow) for _ in range(200)]
    for s in idlers:
        s.sendall(head(60_000) + b"{")
    try:
        assert [sleep_on(slow, 0) for _ in range(20)] == [200] * 20
        assert [answer(s)[0] for s in idlers] == [408] * 200
    finally:
        for s in idlers:
            s.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (head("-5"), 400),
        (head("5, 5"), 400),
        (head(5, "Transfer-Encoding: gzip"), 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_a_malformed_head_gets_json_and_a_close(slow: Running, sent: bytes, status: int) -> None:
    with connect(slow) as s:
        s.sendall(sent)
        found, headers, text = answer(s)
        assert (found, headers["content-type"], headers["connection"]) == (status, "application/json", "close")
        assert json.loads(text)["error"]


def test_a_body_longer_than_its_length_is_answered_and_the_rest_is_refused(slow: Running) -> None:
    with connect(slow) as s:
        s.sendall(head(len(body(0))) + body(0) + b"more than was said\r\n\r\n")
        assert answer(s)[0] == 200
        assert answer(s)[0] == 400


def test_pipelined_requests_are_answered_in_order(slow: Running) -> None:
    with connect(slow) as s:
        s.sendall(b"".join(head(len(body(x))) + body(x) for x in (0.2, 0.0, 0.1)) + head(0, path="/api/ping", method="GET"))
        texts = [answer(s)[2] for _ in range(4)]
    assert [json.loads(t)["results"]["slept"][0][0] for t in texts[:3]] == pytest.approx([0.2, 0.0, 0.1])
    assert json.loads(texts[3]) == {"ping": "pong"}


def test_ping_answers_while_as_many_light_requests_as_may_be_are_in_flight(slow: Running) -> None:
    """A pod that refused a ping for load would get no requests, and its load would move to pods that are as loaded."""
    with ThreadPoolExecutor(LIGHT_LIMIT) as many, connect(slow) as s:
        light = [many.submit(get, slow.url + "/nap") for _ in range(LIGHT_LIMIT)]
        try:
            until(lambda: post_json(slow.url + "/naps", {})[1]["results"] == LIGHT_LIMIT)
            assert get(slow.url + "/rows")[0] == 429
            s.sendall(head(0, path="/api/ping", method="GET"))
            assert answer(s)[0] == 200
            assert not any(each.done() for each in light)
        finally:
            post_json(slow.url + "/wake", {})
        assert [each.result()[0] for each in light] == [200] * LIGHT_LIMIT


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_ping_by_any_method_without_work_leaves_the_connection_good(slow: Running, method: str) -> None:
    with connect(slow) as s:
        s.sendall(head(0, path="/api/ping", method=method))
        top = s.recv(65536, socket.MSG_PEEK)
        text = s.recv(len(top)).partition(b"\r\n\r\n")[2] if method == "HEAD" else answer(s)[2]
        assert text == (b"" if method == "HEAD" else b'{"ping":"pong"}')
        s.sendall(head(len(body(0))) + body(0))
        assert answer(s)[0] == 200


def test_ping_answers_on_both_ports_while_every_worker_is_busy(slow: Running) -> None:
    full = Full(slow, 1.5)
    with connect(slow) as s:
        for _ in range(50):
            s.sendall(head(0, path="/api/ping", method="GET"))
            assert answer(s)[0] == 200
    assert get(slow.admin + "/api/ping")[0] == 200
    assert not any(a.done() for a in full.answers)
    full.done()


def test_a_deadline_that_passes_in_the_queue_is_a_504_and_is_not_computed(slow: Running) -> None:
    first = busy(slow, 2)
    before = rows(slow)
    headers = {"Content-Type": "application/json", "X-Request-Timeout-Ms": "50"}
    status, text = get(slow.url + "/api/slow", body(0), headers)
    assert (status, json.loads(text)["reason"]) == (504, "short_deadline")
    assert [each.result() for each in first] == [200, 200]
    assert rows(slow) == before


def test_a_client_that_goes_away_is_not_computed(slow: Running) -> None:
    first = busy(slow, 2)
    before, left = rows(slow), slow.left()
    for _ in range(4):
        with connect(slow) as s:
            s.sendall(head(len(body(0))) + body(0))
            time.sleep(0.02)
    assert [each.result() for each in first] == [200, 200]
    assert sleep_on(slow, 0) == 200
    assert rows(slow) - before == 1
    until(lambda: slow.left() == left + 4)


def test_a_body_that_ends_early_is_not_computed(slow: Running) -> None:
    before = rows(slow)
    with connect(slow) as s:
        s.sendall(head(1000) + body(0))
    assert sleep_on(slow, 0) == 200
    assert rows(slow) - before == 1


def test_many_connections_at_once_get_an_answer_each(slow: Running) -> None:
    codes: list[int] = []
    lock = threading.Lock()

    def one() -> None:
        code = sleep_on(slow, 0.01)
        with lock:
            codes.append(code)

    threads = [threading.Thread(target=one) for _ in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(codes) == 100
    assert set(codes) <= {200, 429}
    assert codes.count(200) >= 6
