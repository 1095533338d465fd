"""Queues, connections, bodies, names and descriptors have bounds: what is beyond them is refused, and pings are answered."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from serving.web.admission import LIGHT_LIMIT
from tests.running import Running, get, make_service, post_json, running
from tests.serving import echo_service
from tests.serving.echo_service import PING, PONG, Client, ask, echo_request
from tests.serving.web.slow_service import Full, answer, body, connect, head
from tests.waiting import until

NAMES = 50
CROWD = 24  # more than the admin port's pages at once, and than the data port's light requests
SPARE = 20  # descriptors
LARGE = 4_000_000  # bytes of a body, which goes to the disk


@pytest.mark.parametrize("path", ["/v2/models/none-{}/infer", "/api/small/v1/models/none-{}:predict"])
def test_models_that_are_not_there_leave_no_series_in_the_metrics(service: Running, path: str) -> None:
    with Client(service.port) as client:
        for number in range(NAMES):
            client.send(echo_request(number).replace(b"/api/small", path.format(number).encode(), 1))
            found = client.answer()
            assert found.status == 404
    assert "none-" not in service.metrics()
    assert service.metric('monopod_queue_rows{model="small"}', absent=-1) == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_admin_port_takes_no_body(service: Running, method: str) -> None:
    head = f"{method} /livez HTTP/1.1\r\nHost: x\r\n".encode()
    for framing in (b"Content-Length: 10000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"):
        answer = ask(service.admin_port, head + framing)
        assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_liveness_is_answered_while_a_crowd_asks_for_the_metrics(service: Running) -> None:
    over = threading.Event()

    def ask_on() -> None:
        with Client(service.admin_port) as client:
            while not over.is_set():
                client.send(echo_service.get_request("/metrics"))
                found = client.answer()
                assert found.status in (200, 429), found

    with ThreadPoolExecutor(CROWD) as pool:
        crowd = [pool.submit(ask_on) for _ in range(CROWD)]
        found = [get(service.admin + page)[0] for page in ("/livez", "/readyz", "/api/ping") * 30]
        over.set()
        for one in crowd:
            one.result()
    assert set(found) == {200}


def test_where_descriptors_run_out_the_port_rests_and_accepts_again_later(service: Running) -> None:
    process = psutil.Process(service.process.pid)
    before = process.rlimit(psutil.RLIMIT_NOFILE)
    most = process.num_fds() + SPARE
    process.rlimit(psutil.RLIMIT_NOFILE, (most, before[1]))
    clients = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(2 * SPARE)]
    try:
        time.sleep(2)
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, before)
        for client in clients:
            client.close()
    assert ask(service.port, PING).body == PONG
    said = [line for line in service.lines() if "was not accepted" in line["message"]]
    assert 1 <= len(said) <= 30


def test_a_body_for_which_there_is_no_room_on_the_disk_is_answered_and_said(service: Running) -> None:
    process = psutil.Process(service.process.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % LARGE
    process.rlimit(psutil.RLIMIT_FSIZE, (LARGE // 2, before[1]))  # a write behind it fails, as on a full disk
    try:
        answer = ask(service.port, head + bytes(LARGE))
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    assert answer.status == 500
    assert b"no room for the body" in answer.body
    until(lambda: [line["level"] for line in service.lines() if "cannot be kept" in line["message"]] == ["error"])
    assert ask(service.port, head + bytes(LARGE)).json == {"results": LARGE, "msg": ""}


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


def test_ping_answers_on_both_ports_while_every_worker_is_busy(slow: Running) -> None:
    full = Full(slow, 1.5)
    with connect(slow) as s:
        for _ in range(50):
            s.sendall(head(0, path="/api/ping", method="GET"))
            assert answer(s)[0] == 200
    assert get(slow.admin + "/api/ping")[0] == 200
    assert not any(a.done() for a in full.answers)
    full.done()


IMPORTS = "from serving.service.service import Answer, Service, route\n"


def test_clients_that_ask_on_without_reading_hold_no_thread(tmp_path: Path) -> None:
    server = IMPORTS + "class S(Service):\n @route('/big', 'GET')\n def big(self, r): return Answer(b'x' * 24_000_000, 'x/y')\n"
    with running(make_service(tmp_path / "s", "timeout_second = 1", server)) as service:
        silent = []
        for _ in range(16):  # as many as may be admitted at once
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", service.port))
            s.sendall(head(0, path="/big", method="GET") * 3)
            silent.append(s)
        end = time.monotonic() + 60
        time.sleep(2)
        while get(service.url + "/status")[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        with silent[0]:
            one = connect(service)
            one.sendall(head(0, path="/big", method="GET"))  # one answer alone, never read
            assert service.stop() == 0
            one.close()
        for s in silent:
            s.close()
