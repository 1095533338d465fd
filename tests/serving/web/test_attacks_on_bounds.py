"""Clients bring many names, bodies to the admin port, and connections, and take no answers: each of these has a bound."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from serving.base.process import peak_bytes
from tests.memory import MIB, forget_peak, settled_bytes
from tests.running import Running, get
from tests.serving import echo_service
from tests.serving.echo_service import PING, PONG, Client, ask, echo_request
from tests.waiting import until

NAMES = 50
CROWD = 24  # more than the admin port's pages at once, and than the data port's light requests
SPARE = 20  # descriptors
LARGE = 4_000_000  # bytes of a body, which goes to the disk


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with echo_service.serving(tmp_path_factory) as one:
        yield one


@pytest.mark.parametrize("path", ["/v2/models/none-{}/infer", "/api/small/v1/models/none-{}:predict"])
def test_models_that_are_not_there_leave_no_series_in_the_metrics(service: Running, path: str) -> None:
    with Client(service.port) as client:
        for number in range(NAMES):
            client.send(echo_request(number).replace(b"/api/small", path.format(number).encode(), 1))
            found = client.answer()
            assert found is not None
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
                client.send(echo_service.get("/metrics"))
                found = client.answer()
                assert found is not None
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


def test_answers_that_many_clients_do_not_take_are_bounded_together(tmp_path_factory: pytest.TempPathFactory) -> None:
    with echo_service.serving(tmp_path_factory, 'memory = "512Mi"') as service, contextlib.ExitStack() as stack:
        process = service.process.pid
        before = settled_bytes(process)
        forget_peak(process)
        clients = [stack.enter_context(Client(service.port)) for _ in range(32)]
        for client in clients:
            client.send(echo_service.get("/large?bytes=16000000"))
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
            client.send(echo_service.get("/large?bytes=16000000"))
            assert client.socket.recv(1000).startswith(b"HTTP/1.1 200 ")  # and no more for now
        for _ in range(8):
            with Client(service.port) as last:
                last.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 2**10)
                last.send(echo_service.get("/large?bytes=16000000"))
                time.sleep(0.2)
                found = last.answer()
                assert found is not None
                assert len(found.body) == 16_000_000
