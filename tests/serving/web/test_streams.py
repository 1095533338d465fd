"""Iterators of a service's own code are sent as they come, and end with their client, their deadline or their error."""

import contextlib
import http.client
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import DIGITS, Running, get, make_service, post_json, running
from tests.serving.echo_service import PING, PONG, Client
from tests.waiting import until

SERVER = """
import threading

import numpy as np

from serving.api import Answer, BadInput, Request, Service, route


class Streaming(Service):
    def setup(self) -> None:
        self.go = threading.Semaphore(0)
        self.given = self.closed = 0

    def items(self, request, whole=lambda item: item):
        held, fails = request.value("held", int, 10**6), request.value("fails", int, -1)
        try:
            for number in range(request.value("count", int, 3)):
                if number == fails:
                    raise BadInput("no further items") if request.value("bad", int, 0) else KeyError(number)
                if number >= held:
                    self.go.acquire(timeout=request.value("patience", float, 20.0))
                self.given += 1
                yield whole({"number": number, "pad": "x" * request.value("size", int, 0)})
        finally:
            self.closed += 1

    def handle(self, request):
        return self.items(request)

    @route("/lines", "GET", "POST")
    def lines(self, request):
        return self.items(request)

    @route("/events", "GET", "POST")
    def events(self, request):
        return Answer(self.items(request), "text/event-stream", 203)

    @route("/bytes", "GET")
    def bytes(self, request):
        return self.items(request, lambda item: item["pad"].encode())

    @route("/audio", "GET")
    def audio(self, request):
        return Answer(self.items(request), "audio/wav")

    @route("/generates", "GET")
    def generates(self, request):
        yield {"id": np.int64(7), "score": float("nan")}

    @route("/declared", "GET", streams="text/event-stream")
    def declared(self, request):
        yield 1

    @route("/go", "GET")
    def let_one_go(self, request):
        self.go.release()

    @route("/state", "GET")
    def state(self, request):
        return {"given": self.given, "closed": self.closed}
"""
POSTPROCESS = """
from serving.api import Service


class Digits(Service):
    def postprocess(self, outputs, request):
        for row in next(iter(outputs.values())):
            yield {"digit": int(row.argmax()), "seconds_left": request.life.left()}
"""
TIMEOUT = 3
NO_ITEM = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(tmp_path_factory.mktemp("streams") / "small", "timeout_second = 20", SERVER)
    with running(folder) as it:
        yield it


@contextlib.contextmanager
def asked(service: Running, path: str, method: str = "GET", **headers: str) -> Iterator[http.client.HTTPResponse]:
    """Yield an answer whose head has come. path: below the service's own."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, "/api/small" + path, headers={"X-Request-Id": "streamed", **headers})
        yield connection.getresponse()


def state(service: Running) -> dict[str, int]:
    found: dict[str, int] = json.loads(get(service.url + "/state")[1])["results"]
    return found


def let_one_go(service: Running) -> None:
    assert get(service.url + "/go")[0] == 200


def ends(service: Running, route: str, code: int, reason: str = "") -> float:
    return service.metric(f'monopod_requests_total{{code="{code}",reason="{reason}",route="{route}"}}')


def received(client: socket.socket, end: bytes) -> bytes:
    """Return what comes up to these bytes."""
    found = b""
    while not found.endswith(end):
        more = client.recv(65536)
        assert more, found
        found += more
    return found


def until_it_rests(count: Callable[[], int], beyond: int) -> int:
    """Return a count once it is greater than `beyond`, and the same in two looks."""
    looks = [beyond]

    def rests() -> bool:
        looks.append(count())
        return looks[-2] == looks[-1] > beyond

    until(rests, pause=0.3)
    return looks[-1]


def raw(service: Running, request: bytes) -> bytes:
    """Return every byte of an answer that ends its connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize(("path", "method"), [("", "POST"), ("/lines", "GET"), ("/lines", "POST")])
def test_each_item_arrives_when_it_is_given(service: Running, path: str, method: str) -> None:
    with asked(service, path + "?held=1", method) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
        assert (answer.headers["Transfer-Encoding"], answer.headers["X-Request-Id"]) == ("chunked", "streamed")
        for number in range(3):
            if number:
                let_one_go(service)
            assert json.loads(answer.readline()) == {"number": number, "pad": ""}
        assert answer.read() == b""


def test_server_sent_events_are_framed_and_have_their_own_status(service: Running) -> None:
    with asked(service, "/events?count=2") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (203, "text/event-stream")
        assert answer.read() == b'data: {"number":0,"pad":""}\n\ndata: {"number":1,"pad":""}\n\n'


def test_bytes_are_sent_as_they_are(service: Running) -> None:
    with asked(service, "/bytes?size=2") as answer:
        assert (answer.headers["Content-Type"], answer.read()) == ("application/octet-stream", b"xx" * 3)


def test_a_route_may_be_a_generator_function_and_gives_what_json_can_hold(service: Running) -> None:
    assert get(service.url + "/generates") == (200, b'{"id":7,"score":null}\n')


def test_the_declared_content_type_is_sent_and_stands_in_the_openapi_document(service: Running) -> None:
    with asked(service, "/declared") as answer:
        assert (answer.headers["Content-Type"], answer.read()) == ("text/event-stream", b"data: 1\n\n")
    paths = json.loads(get(service.url + "/openapi.json")[1])["paths"]
    assert [*paths["/declared"]["get"]["responses"]["200"]["content"]] == ["text/event-stream"]
    assert [*paths["/lines"]["get"]["responses"]["200"]["content"]] == ["*/*"]


def test_no_item_is_a_whole_answer_without_a_line(service: Running) -> None:
    with Client(service.port) as client:
        client.send(b"GET /lines?count=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        head = received(client.socket, NO_ITEM)
        assert b"\r\nContent-Type: application/x-ndjson\r\n" in head
        assert head.endswith(b"\r\n\r\n" + NO_ITEM)
        client.send(PING)
        found = client.answer()
        assert found.body == PONG


def test_an_error_before_the_first_item_is_an_ordinary_answer(service: Running) -> None:
    status, body = get(service.url + "/lines?fails=0&bad=1")
    assert (status, json.loads(body)["msg"]) == (400, "no further items")
    assert get(service.url + "/lines?fails=0")[0] == 500
    assert post_json(service.url + "/api/small", {"count": "many"})[0] == 400
    assert get(service.url + "/audio")[0] == 500
    until(lambda: "an iterator gives an item of type dict, and the content type is audio/wav" in service.log.read_text())


@pytest.mark.parametrize(("bad", "status", "reason"), [(1, 400, "bad_input"), (0, 500, "service_failed")])
@pytest.mark.parametrize("path", ["/lines", "/events"])
def test_an_error_in_the_middle_is_the_last_line_and_counts_with_its_own_code(
    service: Running, path: str, bad: int, status: int, reason: str
) -> None:
    before = ends(service, path[1:], status, reason)
    with asked(service, f"{path}?fails=1&bad={bad}") as answer:
        assert answer.status in (200, 203)
        lines = [line.removeprefix(b"data: ") for line in answer.read().splitlines() if line]
    error = json.loads(lines[1])
    assert (json.loads(lines[0])["number"], error["reason"], error["request_id"]) == (0, reason, "streamed")
    assert error["error"] == error["msg"]
    until(lambda: ends(service, path[1:], status, reason) == before + 1)


def test_an_error_among_bytes_leaves_the_last_chunk_away(service: Running) -> None:
    with asked(service, "/bytes?size=2&fails=1") as answer, pytest.raises(http.client.IncompleteRead) as found:
        answer.read()
    assert found.value.partial == b"xx"


def test_http_1_0_reads_until_the_connection_ends(service: Running) -> None:
    head, _, body = raw(service, b"GET /lines?count=2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"Connection: close" in head
    assert body == b'{"number":0,"pad":""}\n{"number":1,"pad":""}\n'


def test_a_connection_serves_on_after_a_stream_and_answers_keep_their_order(service: Running) -> None:
    both = b"GET /generates HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET /state HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    first, second = raw(service, both).split(NO_ITEM)
    assert b"score" in first
    assert b"given" in second


def test_head_has_the_head_of_get_and_pulls_no_second_item(service: Running) -> None:
    before = state(service)
    with asked(service, "/lines?count=1000000&size=1000", "HEAD") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
        assert answer.headers["Content-Length"] is None
        assert answer.read() == b""
    until(lambda: state(service)["closed"] == before["closed"] + 1)
    assert state(service)["given"] < before["given"] + 1000


def test_a_client_that_takes_nothing_holds_the_iterator_within_a_bound(service: Running) -> None:
    before, size = state(service), 50_000
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(f"GET /lines?count=2000&size={size} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        given = until_it_rests(lambda: state(service)["given"], before["given"])
        assert (given - before["given"]) * size < 8 * 2**20  # mostly of the system's buffers for a socket
        assert state(service)["closed"] == before["closed"]
    until(lambda: state(service)["closed"] == before["closed"] + 1)


def close(client: socket.socket) -> None:
    client.close()


def half_close_and_go(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)
    client.close()


@pytest.mark.parametrize("leave", [close, half_close_and_go])
@pytest.mark.parametrize("path", ["/lines", "/api/small"])
def test_a_client_that_goes_closes_the_iterator_while_it_waits(
    service: Running, path: str, leave: Callable[[socket.socket], None]
) -> None:
    before, route = state(service), "lines" if path == "/lines" else "service"
    gone = ends(service, route, 499, "client_gone")
    client = socket.create_connection(("127.0.0.1", service.port))
    client.sendall(f"POST {path}?held=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    received(client, b'"pad":""}\n\r\n')
    leave(client)
    until(lambda: ends(service, route, 499, "client_gone") == gone + 1)
    let_one_go(service)
    until(lambda: state(service)["closed"] == before["closed"] + 1)
    assert state(service)["given"] <= before["given"] + 2


def test_a_client_that_only_closes_its_sending_side_gets_the_whole_answer(service: Running) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(b"GET /lines?held=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        received(client, b'"pad":""}\n\r\n')
        client.shutdown(socket.SHUT_WR)
        let_one_go(service)
        let_one_go(service)
        chunks = received(client, NO_ITEM).split(b"\r\n")
    assert b"".join(chunks[1::2]).count(b"number") == 2
    assert all(int(size, 16) == len(chunk) for size, chunk in zip(chunks[::2], chunks[1::2], strict=False))


def test_the_deadline_ends_a_stream_with_an_error_line(service: Running) -> None:
    before = state(service)
    with asked(service, "/lines?held=1&patience=1", **{"X-Request-Timeout-Ms": "500"}) as answer:
        lines = answer.read().splitlines()
    assert (len(lines), json.loads(lines[1])["reason"]) == (2, "short_deadline")
    until(lambda: state(service)["closed"] == before["closed"] + 1)
    assert ends(service, "lines", 504, "short_deadline") == 1


def test_the_access_line_has_the_time_to_the_end(service: Running) -> None:
    with asked(service, "/lines?held=2", **{"X-Request-Id": "timed"}) as answer:
        answer.readline()
        time.sleep(0.2)
        let_one_go(service)
        answer.read()
    until(lambda: any(line.get("request_id") == "timed" for line in service.lines()))
    (line,) = (line for line in service.lines() if line.get("request_id") == "timed")
    assert (line["code"], line["milliseconds"] >= 200) == (200, True)


def test_a_stream_holds_its_place_until_its_end(service: Running) -> None:
    with asked(service, "/lines?held=1", "POST") as answer:
        answer.readline()
        assert service.metric("monopod_requests_in_progress") == 1
        let_one_go(service)
        let_one_go(service)
        answer.read()
    until(lambda: service.metric("monopod_requests_in_progress") == 0)


def test_a_release_lets_a_stream_finish(tmp_path: Path) -> None:
    with running(make_service(tmp_path / "small", "timeout_second = 20", SERVER)) as service:
        with asked(service, "/lines?held=1&patience=3&count=2") as answer:
            answer.readline()
            service.process.send_signal(signal.SIGTERM)
            until(lambda: "draining" in service.log.read_text())
            assert (json.loads(answer.readline())["number"], answer.read()) == (1, b"")
        assert service.process.wait(30) == 0


def test_postprocess_may_give_its_results_one_by_one(tmp_path: Path) -> None:
    settings = f'model_path = "model/{DIGITS.name}"'
    with running(make_service(tmp_path / "small", settings, POSTPROCESS, (str(DIGITS),))) as service:
        body = json.dumps({"data": [[[[0.0] * 8] * 8]] * 2}).encode()
        status, lines = get(service.url + "/api/small", body, {"Content-Type": "application/json"})
        assert (status, [sorted(json.loads(line)) for line in lines.splitlines()]) == (200, [["digit", "seconds_left"]] * 2)
