"""Hostile requests, and the start and end of a pod. Each of these once lost an answer, a thread or the exit code."""

import contextlib
import http.client
import json
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.process import cpu
from tests.running import ROOT, Running, free_port, get, launch, make_service, post_json, running
from tests.serving.web.test_drain import patient, refuses
from tests.serving.web.test_front import answer, body, connect, head, rows
from tests.waiting import until

FOLDER = ROOT / "tests/services/slow"
PING = head(0, path="/api/ping", method="GET")
IMPORTS = "from serving.service.service import Answer, Service, route\n"


@pytest.fixture(scope="module")
def slow() -> Iterator[Running]:
    with running(FOLDER) as service:
        yield service


def test_hundreds_of_pings_behind_a_slow_request_are_all_answered(slow: Running) -> None:
    with connect(slow) as s:
        s.sendall(head(len(body(0.2))) + body(0.2) + PING * 500)
        assert [answer(s)[0] for _ in range(501)] == [200] * 501


@pytest.mark.parametrize("path", ["/api/ping", "/status"])
def test_a_request_without_a_body_that_expects_100_continue_is_answered_at_once(slow: Running, path: str) -> None:
    with connect(slow) as s:
        s.sendall(head(0, "Expect: 100-continue", path=path, method="GET"))
        assert answer(s)[0] == 200


@pytest.mark.parametrize("sent", [head("9" * 5000), b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["length", "target"])
def test_numbers_and_targets_that_python_cannot_read_are_a_400(slow: Running, sent: bytes) -> None:
    with connect(slow) as s:
        s.sendall(sent)
        status, _, text = answer(s)
    assert status == 400
    assert b"sys." not in text


def test_a_request_behind_one_that_ends_the_connection_is_not_computed(slow: Running) -> None:
    before, small = rows(slow), body(0)
    with connect(slow) as s:
        s.sendall(head(len(small), "X-Request-Timeout-Ms: 50", "Connection: close") + small[:1])
        time.sleep(0.1)
        s.sendall(small[1:] + (head(len(small)) + small) * 3)
        assert answer(s)[0] == 504
        assert s.recv(1) == b""
    assert rows(slow) == before


@pytest.mark.parametrize(
    "flood",
    [
        b"\r\n\r\n" * 65536,
        b"POST /api/slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n",
    ],
    ids=["empty lines", "tiny chunks"],
)
def test_one_client_cannot_hold_the_loop_by_many_small_things(slow: Running, flood: bytes) -> None:
    end = threading.Event()

    def send() -> None:
        with connect(slow) as s:
            while not end.is_set():
                try:
                    s.sendall(flood)
                except OSError:
                    return

    thread = threading.Thread(target=send)
    thread.start()
    times = []
    try:
        for _ in range(20):
            began = cpu(slow.process.pid).total
            assert get(slow.url + "/api/ping")[0] == 200
            times.append(cpu(slow.process.pid).total - began)
            time.sleep(0.03)
    finally:
        end.set()
        thread.join(10)
    assert statistics.median(times) < 0.3  # it was 1 s, and is 0.03 s


def test_a_refused_head_request_gets_no_body(slow: Running) -> None:
    with connect(slow) as s:
        s.sendall(head(10_000_000, method="HEAD"))
        text = b""
        while more := s.recv(65536):
            text += more
    assert text.startswith(b"HTTP/1.1 413 ")
    assert text.endswith(b"\r\n\r\n")


def test_the_admin_port_answers_head_without_a_body_and_no_other_method(slow: Running) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", slow.admin_port, timeout=5)) as connection:
        for method, status in (("HEAD", 200), ("GET", 200), ("POST", 405)):  # a body too many would be the next answer's head
            connection.request(method, "/livez")
            response = connection.getresponse()
            response.read()
            assert response.status == status


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


@pytest.mark.parametrize("sent", [head(1000) + b'{"da', head(10_000_000)], ids=["slow body", "lingering"])
def test_slow_and_lingering_clients_do_not_spoil_the_exit_code(sent: bytes, tmp_path: Path) -> None:
    with running(patient(tmp_path / "slow", drain_delay_second=3)) as service:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: get(service.admin + "/readyz")[0] == 503)  # the drain delay has begun
        with connect(service) as s:
            s.sendall(sent)
            assert answer(s)[0] in (408, 413)
            assert service.stop() == 0


def test_a_request_whose_head_came_in_time_is_finished_after_the_port_is_closed(tmp_path: Path) -> None:
    folder = patient(tmp_path / "slow", drain_delay_second=2, timeout_second=30, upload_timeout_second=20)
    with running(folder) as service, connect(service) as s:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: get(service.admin + "/readyz")[0] == 503)
        s.sendall(head(len(body(0))) + body(0)[:1])
        until(lambda: refuses(service.port))
        s.sendall(body(0)[1:])
        assert answer(s)[0] == 200
        assert service.stop() == 0


def test_a_pod_that_is_ended_while_loading_never_becomes_ready() -> None:
    service = launch(FOLDER, {"SETUP_SECONDS": "1.5"})
    try:
        end = time.monotonic() + 60
        while '"message":"signal' not in service.log.read_text() and time.monotonic() < end:
            try:
                get(service.admin + "/livez")
                with connect(service) as s:
                    s.sendall(head(len(body(0))) + body(0)[:1])  # keeps the process alive for a second
                    service.process.send_signal(signal.SIGTERM)
                    assert answer(s)[0] == 503
            except OSError:
                time.sleep(0.05)
        assert service.process.wait(60) == 0
        assert "ready after" not in service.log.read_text()
    finally:
        service.process.kill()
        service.process.wait(10)


@pytest.mark.parametrize("path", ["predict", "infer", "ready", "metadata", "page", "service", "live"])
def test_a_services_own_route_may_have_the_name_of_one_of_the_platforms(tmp_path: Path, path: str) -> None:
    server = IMPORTS + f"class S(Service):\n @route('/{path}')\n def own(self, r): return 1\n"
    with running(make_service(tmp_path / "s", "", server)) as service:
        assert post_json(f"{service.url}/api/small/{path}", {})[1]["results"] == 1
        assert f'monopod_requests_total{{code="200",reason="",route="{path}"}}' in service.metrics()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("class S(Service):\n def setup(self): raise SystemExit('no index')", "setup failed: SystemExit: no index"),
        ("raise SystemExit()", "SystemExit"),
        ("class S(Service):\n def __init__(self, *a): raise ValueError('mine')", "ValueError: mine"),
        ("class S(Service):\n @route('/a/<int:')\n def own(self, r): return 1", "its routes: ValueError: malformed url rule"),
    ],
)
def test_a_services_own_code_that_fails_at_the_start_is_named_and_soon(tmp_path: Path, code: str, words: str) -> None:
    folder = make_service(tmp_path / "s", "", IMPORTS + code)
    value = folder / "value.py"
    value.write_text(value.read_text().replace("drain_delay_second = 0.3", "drain_delay_second = 60"))
    service = launch(folder)
    assert service.process.wait(120) == 1
    last = service.log.read_text().splitlines()[-1]
    assert last.startswith(f"{folder / 'src/server.py'}: {words}")


def test_a_port_that_is_taken_and_one_that_is_none_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = serve("--port", str(free_port()), "--admin-port", port)
        assert (ran.returncode, f"127.0.0.1:{port}: Address already in use" in ran.stderr) == (1, True)
    ran = serve("--port", "99999")
    assert (ran.returncode, "'99999' is not a port: give a number from 1 to 65535" in ran.stderr) == (2, True)


def serve(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "monopod", "serve", "--service", str(FOLDER), "--host", "127.0.0.1", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_connections_to_the_data_port_leave_the_admin_port_room(slow: Running) -> None:
    many = []
    try:
        for _ in range(4100):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", slow.port))
            many.append(s)
        until(lambda: "reached the connection limit" in slow.log.read_text())
        assert get(slow.admin + "/livez")[0] == 200
    finally:
        for s in many:
            s.close()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if json.loads(get(slow.url + "/status")[1])["state"] == "ready":
            return
    raise AssertionError
