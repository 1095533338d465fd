"""A pod that is told to end finishes what it has accepted, and says by its exit code whether it could."""

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.running import Running, get, post_json, running
from tests.serving.web.slow_service import FOLDER, answer, assert_pinged_in_vain, connect, head, patient, refuses
from tests.waiting import until

pytestmark = pytest.mark.long
BODY = json.dumps({"data": [[0.01]]})


def ask(connection: http.client.HTTPConnection, body: str = BODY) -> tuple[int, str | None]:
    """Return the status and the Connection header of an answer."""
    connection.request("POST", "/api/slow", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    return response.status, response.getheader("Connection")


class Client(threading.Thread):
    """Sends requests and reconnects when told to, until nobody listens. Notes the lost requests."""

    def __init__(self, port: int):
        super().__init__(daemon=True)
        self.port, self.codes, self.lost = port, [0] * 600, list[str]()
        self.start()

    def run(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.connect()
            except OSError:
                return  # the port is closed, so nothing was accepted and nothing is lost
            with contextlib.closing(connection):
                self.ask_on(connection)

    def ask_on(self, connection: http.client.HTTPConnection) -> None:
        while connection.sock is not None:
            try:
                self.codes[ask(connection)[0]] += 1
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                return


@pytest.mark.timeout(900)
def test_twenty_sigterms_under_load_lose_nothing_and_exit_0() -> None:
    answered = 0
    for _ in range(20):
        with running(FOLDER) as service:
            clients = [Client(service.port) for _ in range(8)]
            until(lambda clients=clients: all(client.codes[200] for client in clients))  # type: ignore[misc]
            assert service.stop() == 0
            for client in clients:
                client.join(120)
                assert not client.is_alive()
                assert client.lost == []
                assert client.codes[500] == 0
                answered += client.codes[200]
    assert answered > 20 * 8


def test_while_draining_requests_are_served_and_their_connections_closed(tmp_path: Path) -> None:
    with running(patient(tmp_path / "slow", drain_delay_second=3)) as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        assert ask(connection)[1] is None
        service.process.send_signal(signal.SIGTERM)
        until(lambda: get(service.admin + "/readyz") == (503, b"draining\n"))
        assert get(service.url + "/v2/health/ready")[0] == 503
        for url in (service.url, service.admin):
            assert_pinged_in_vain(url, "this pod is shutting down")
        assert ask(connection) == (200, "close")
        assert service.stop() == 0


def test_a_connection_that_is_open_when_the_port_closes_may_still_ask() -> None:
    with running(FOLDER) as service:
        silent, kept = (http.client.HTTPConnection("127.0.0.1", service.port, timeout=10) for _ in range(2))
        silent.connect()
        kept.request("GET", "/api/ping")
        assert kept.getresponse().read() == b'{"ping":"pong"}'
        service.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(service.port))
        time.sleep(1)  # a client this late once got a reset, when the process ended as soon as the port closed
        assert ask(silent) == (200, "close")
        assert ask(kept) == (200, "close")
        assert service.stop() == 0


def test_a_connection_without_a_request_delays_the_end_only_briefly() -> None:
    with running(FOLDER) as service, socket.create_connection(("127.0.0.1", service.port), timeout=10) as silent:
        assert service.stop() == 0  # it would be 1 if the drain waited for the client
        assert silent.recv(1) == b""


def test_a_request_that_is_still_computed_when_the_port_closes_is_finished(tmp_path: Path) -> None:
    with running(patient(tmp_path / "slow", timeout_second=30)) as service, ThreadPoolExecutor(1) as pool:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        answer = pool.submit(ask, connection, json.dumps({"data": [[4.5]]}))  # drain delay, port's close, and 3 s: 4 s
        until(lambda: service.metric("monopod_requests_in_progress") == 1)
        assert service.stop() == 0
        assert answer.result() == (200, "close")


def test_a_request_that_is_half_sent_at_the_sigterm_is_finished(tmp_path: Path) -> None:
    folder = patient(tmp_path / "slow", timeout_second=30, upload_timeout_second=20)
    with running(folder) as service, socket.create_connection(("127.0.0.1", service.port), timeout=10) as s:
        length = len(BODY)
        head = f"POST /api/slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}"
        s.sendall(f"{head}\r\n\r\n{{".encode())
        service.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(service.port))  # past the drain delay
        s.sendall(BODY[1:].encode())
        assert s.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert service.stop() == 0


def test_a_request_whose_head_came_in_time_is_finished_after_the_port_is_closed(tmp_path: Path) -> None:
    folder = patient(tmp_path / "slow", drain_delay_second=2, timeout_second=30, upload_timeout_second=20)
    with running(folder) as service, connect(service) as s:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: get(service.admin + "/readyz")[0] == 503)  # the drain delay has begun
        s.sendall(head(len(BODY)) + BODY[:1].encode())
        until(lambda: get(service.admin + "/readyz") == (503, b"closed\n"))  # from now on no head is accepted
        assert refuses(service.port)
        time.sleep(0.3)  # an end that did not wait for the body would come now
        s.sendall(BODY[1:].encode())
        assert answer(s)[0] == 200
        assert service.stop() == 0


def test_a_model_that_hangs_costs_its_callers_504_and_neither_others_nor_the_drain(tmp_path: Path) -> None:
    with running(patient(tmp_path / "slow", stuck_after_second=4)) as service:
        hung = [threading.Thread(target=_expect, args=(service, 600.0, 504)) for _ in range(2)]
        for thread in hung:
            thread.start()
        until(lambda: service.metric("monopod_requests_in_progress") == 2)
        other = service.url + "/v2/models/other/infer"
        tensors = {"inputs": [{"name": "seconds", "datatype": "FP32", "shape": [1, 1], "data": [3]}]}
        assert post_json(other, tensors)[1]["outputs"][0]["data"] == [3.0]
        assert get(service.admin + "/livez")[0] == 200  # busy is not stuck
        for thread in hung:
            thread.join(60)
        until(lambda: get(service.admin + "/livez")[0] == 503)
        _, text = get(service.admin + "/livez")
        assert b"slow: a batch has been running" in text
        assert service.stop() == 0


def _expect(service: Running, seconds: float, status: int) -> None:
    assert post_json(service.url + "/api/slow", {"data": [[seconds]]})[0] == status


def test_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with running(patient(tmp_path / "slow", drain_delay_second=60)) as service:
        began = time.monotonic()
        assert service.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("sent", [head(1000) + b'{"da', head(10_000_000)], ids=["slow body", "lingering"])
def test_slow_and_lingering_clients_do_not_spoil_the_exit_code(sent: bytes, tmp_path: Path) -> None:
    with running(patient(tmp_path / "slow", drain_delay_second=3)) as service:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: get(service.admin + "/readyz")[0] == 503)  # the drain delay has begun
        with connect(service) as s:
            s.sendall(sent)
            assert answer(s)[0] in (408, 413)
            assert service.stop() == 0
