"""Requests that take long, by their bytes or their clients: probes and other clients are answered meanwhile."""

import contextlib
import json
import socket
import time

import pytest

from tests.running import Running, get
from tests.serving import echo_service
from tests.serving.echo_service import PING, PONG, Client, ask, ask_on, both_paths, check_owner, echo_request
from tests.serving.floods import Flood, flooding, probing
from tests.serving.web.slow_service import answer, body, busy, connect, head, rows, sleep_on
from tests.waiting import until

FLOOD_SECONDS = 2.0
SILENT = 4200  # more than the connections that a port holds
SHORT_PING = b"GET /api/ping HTTP/1.1\r\nHost:x\r\n\r\n"
CHUNKED = b"POST /api/small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
MANY_FIELDS = b"GET /api/ping HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 16_000 + b"\r\n"
HEADS = {
    "digits in a target": b"GET a://" + b"1" * 8_000 + b" HTTP/1.1 x\r\nHost: x\r\n\r\n",
    "digits and no version": b"GET a://" + b"1" * 8_000 + b" x\r\nHost: x\r\n\r\n",
    "spaces in a field": b"GET /api/ping HTTP/1.1\r\nHost: x\r\nA:" + b" " * 32_000 + b"x\r\n\r\n",
    "spaces before a colon": b"GET /api/ping HTTP/1.1\r\nHost: x\r\nA" + b" " * 32_000 + b": x\r\n\r\n",
    "tabs and spaces in turns": b"GET /api/ping HTTP/1.1\r\nHost: x\r\nA:" + b" \t" * 16_000 + b"\x01\r\n\r\n",
    "spaces in the first line": b"GET" + b" " * 32_000 + b"/api/ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "fields": MANY_FIELDS,
}
LARGE_HEAD = (
    b"GET /api/ping HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"x" * 400) for i in range(120)) + b"\r\n"
)
LARGE_BODY = b"POST /api/ping HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n" + bytes(16_000_000)
FLOODS = {
    "heads of 50 KB": Flood(100, b"", LARGE_HEAD * 20),
    "bodies of 16 MB": Flood(20, b"", LARGE_BODY),
    "pings of many": Flood(300, b"", SHORT_PING * 400),
    "chunks of one byte": Flood(20, CHUNKED, b"1\r\nx\r\n" * 40_000),
    "pings whose answers are read": Flood(1, b"", SHORT_PING * 4_000),
    "pings whose answers are not read": Flood(1, b"", SHORT_PING * 4_000, reads=False),
    "empty lines": Flood(4, b"", b"\r\n" * 100_000),
    "heads of 16,000 fields": Flood(8, b"", MANY_FIELDS),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_that_was_once_slow_to_match_is_answered_at_once_and_probes_meanwhile(service: Running, head: bytes) -> None:
    with probing(service), Client(service.port) as client:
        time.sleep(0.1)
        client.send(head)
        answer = client.answer()
        assert answer.status in (200, 400, 431)
        assert (answer.headers.get("connection") == "close") == (answer.status != 200)


def test_probes_are_answered_while_300_heads_of_16000_fields_come(service: Running) -> None:
    with probing(service), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(service.port)) for _ in range(300)]
        for client in clients:
            client.send(MANY_FIELDS)
        for client in clients:
            answer = client.answer()
            assert answer.status in (400, 431)


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_probes_and_good_requests_are_answered_while_a_flood_goes_on(service: Running, flood: Flood) -> None:
    with flooding(service, flood), probing(service), Client(service.port) as client:
        end, number = time.monotonic() + FLOOD_SECONDS, 0
        while time.monotonic() < end:
            number += 1
            ask_on(client, number)
            time.sleep(0.05)
    assert flood.sent > 100_000, "the flood did not flow"


@both_paths
def test_probes_are_answered_while_many_clients_ask_a_model_on_and_on(service: Running) -> None:
    flood = Flood(100, b"", echo_request(1))
    with flooding(service, flood), probing(service):
        time.sleep(FLOOD_SECONDS)
    assert flood.sent > 100_000, "the flood did not flow"
    until(lambda: service.metric("monopod_requests_in_progress", absent=-1) == 0)


def test_silent_connections_lock_no_new_client_out_and_close_none_that_has_sent_something(service: Running) -> None:
    with contextlib.ExitStack() as stack:
        older = [stack.enter_context(Client(service.port)) for _ in range(20)]
        for client in older:
            client.send(PING)
            client.answer()
        address = ("127.0.0.1", service.port)
        silent = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(SILENT)]
        for number in range(5):
            began = time.monotonic()
            with Client(service.port) as client:
                client.send(echo_request(number))
                check_owner(client.answer(), number)
            assert time.monotonic() - began < 5
        for client in older:
            client.send(PING)
            answer = client.answer()
            assert answer.body == PONG
        assert silent[0].recv(1) == b""
        assert ask(service.admin_port, echo_service.get_request("/livez")).status == 200
        silent[-1].setblocking(False)
        with pytest.raises(BlockingIOError):  # the youngest is open still
            silent[-1].recv(1)
    until(lambda: json.loads(echo_service.ask(service.port, echo_service.get_request("/status")).body)["state"] == "ready")


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
            until(lambda: slow.metric("monopod_requests_in_progress") == 3)
        until(lambda: slow.metric("monopod_requests_in_progress") == 2)
    assert [each.result() for each in first] == [200, 200]
    assert sleep_on(slow, 0) == 200
    assert rows(slow) - before == 1
    until(lambda: slow.left() == left + 4)
