"""The answer to a request says what becomes of the connection, and carries the request's id."""

import asyncio
from collections.abc import Iterator

import pytest

from serving.base.errors import BadInput, ServiceFailed
from serving.core.messages import Reply
from serving.web.admission import CLOSED, DRAINING, STARTING
from serving.web.front.request_cycle import unread_head
from tests.serving.web.request_cycles import Front, kept, own_loop

FINE = Reply(b"{}")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with own_loop() as made:
        yield made


def request(method: bytes = b"POST", path: bytes = b"/", version: bytes = b"1.1") -> bytes:
    return b"%s %s HTTP/%s\r\nHost: x\r\n" % (method, path, version)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
def test_a_ping_tells_the_state_of_the_pod(loop: asyncio.AbstractEventLoop, method: bytes) -> None:
    front = Front(loop)
    for state, status in ((STARTING, 503), (DRAINING, 503), (CLOSED, 503), ("ready", 200)):
        front.gate.state = state
        cycle = front.cycle(request(method, b"/api/ping"))
        cycle.pong()
        assert kept(cycle).status == status
        assert kept(cycle).answers[0].endswith(b"\r\n\r\n") == (method == b"HEAD")
    assert front.ends == []


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("application/json", "application/json"),
        ("Application/JSON ; charset=utf-8", "application/json"),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        ("", ""),
        (";", ""),
    ],
)
def test_the_kind_of_a_body_is_its_content_type_without_parameters(
    loop: asyncio.AbstractEventLoop, sent: str, kind: str
) -> None:
    cycle = Front(loop).cycle(request(), b"Content-Type: " + sent.encode())
    assert cycle.run(b"", True) is None
    assert (cycle.content_type, cycle.kind) == (sent, kind)


@pytest.mark.parametrize(
    ("version", "connection", "state", "header", "closes"),
    [
        (b"1.1", b"", "ready", None, False),
        (b"1.1", b"close", "ready", b"close", True),
        (b"1.0", b"", "ready", b"close", True),
        (b"1.0", b"keep-alive", "ready", b"keep-alive", False),
        (b"1.1", b"", DRAINING, b"close", True),
        (b"1.1", b"keep-alive", CLOSED, b"close", True),
    ],
)
def test_an_answer_says_whether_it_ends_the_connection(
    loop: asyncio.AbstractEventLoop, version: bytes, connection: bytes, state: str, header: bytes | None, closes: bool
) -> None:
    front = Front(loop)
    cycle = front.cycle(request(version=version), *([b"Connection: " + connection] if connection else []))
    assert cycle.run(b"", True) is None
    front.gate.state = state
    cycle.finish(FINE)
    lines = kept(cycle).answers[0].split(b"\r\n")
    assert [line for line in lines if line.startswith(b"Connection")] == ([b"Connection: " + header] if header else [])
    assert kept(cycle).closes == [closes]


@pytest.mark.parametrize(
    ("lines", "state", "may"),
    [
        ([b"Content-Length: 5"], "ready", True),
        ([b"Content-Length: 5", b"Connection: close"], "ready", False),
        ([b"Content-Length: 5", b"Expect: 100-continue"], "ready", False),
        ([b"Transfer-Encoding: chunked"], "ready", False),
        ([b"Content-Length: 5"], DRAINING, False),
    ],
)
def test_a_connection_serves_on_after_a_refusal_where_the_next_request_can_be_found(
    loop: asyncio.AbstractEventLoop, lines: list[bytes], state: str, may: bool
) -> None:
    front = Front(loop)
    front.gate.state = state
    assert front.cycle(request(), *lines).may_serve_on() == may


@pytest.mark.parametrize(("given", "taken"), [(b"id-1/a.b", True), (b"has space", False), (b"", False), (b"x" * 129, False)])
def test_the_clients_own_id_is_taken_where_it_is_well_formed(
    loop: asyncio.AbstractEventLoop, given: bytes, taken: bool
) -> None:
    cycle = Front(loop).cycle(request(), b"X-Request-Id: " + given)
    assert (cycle.id == given.decode()) == taken
    assert cycle.run(b"", True) is None
    cycle.finish(ServiceFailed("broken"))
    assert f"\r\nX-Request-Id: {cycle.id}\r\n".encode() in kept(cycle).answers[0]
    assert f'"request_id":"{cycle.id}"'.encode() in kept(cycle).answers[0]


def test_a_head_that_could_not_be_read_gets_an_answer_that_ends_the_connection() -> None:
    made = unread_head(BadInput("no request"))
    assert made.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in made
    assert b'"error":"no request"' in made
