"""Clients of unusual habits: each request gets its own whole answer, in order, on a connection that stays good."""

import contextlib
import http.client
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.running import Running
from tests.serving import echo_service
from tests.serving.echo_service import (
    PING,
    PONG,
    Answer,
    Client,
    ask,
    both_paths,
    check_owner,
    echo_body,
    echo_request,
    get_request,
)
from tests.serving.web.slow_service import answer, body, connect, head

CURL_RUNS, CURL_REQUESTS = 2, 60  # of 2 MB each
EXPECTING, EXPECTED = 8, 400  # connections, and requests of each
OVERLOADING, PAIRS = 12, 150
LARGE = 5_000_000
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that is full with few requests."""
    with echo_service.serving(tmp_path_factory, "queue_limit = 1\nmax_batch_size = 1") as one:
        yield one


def test_thousands_of_requests_on_kept_connections_get_their_100_and_their_200(service: Running) -> None:
    def ask_often(first: int) -> None:
        with Client(service.port) as client:
            for number in range(first, first + EXPECTED):
                head, _, body = echo_request(number, "Expect: 100-continue").partition(b"\r\n\r\n")
                client.send(head + b"\r\n\r\n")
                interim = client.read()
                assert interim.status == 100
                client.send(body)
                answer = client.answer()
                check_owner(answer, number)
                assert answer.status == 200

    with ThreadPoolExecutor(EXPECTING) as pool:
        list(pool.map(ask_often, range(0, EXPECTING * EXPECTED, EXPECTED)))


def test_curl_which_expects_100_continue_for_a_large_body_gets_its_answer_each_time(
    service: Running, tmp_path: Path, needs: Callable[[str, str], str]
) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(bytes(2_000_000))
    command = [
        needs("curl", "curl"),
        "-sSi",
        "--expect100-timeout",
        "20",
        "-H",
        "Content-Type: image/png",
        "--data-binary",
        f"@{picture}",
    ]
    for _ in range(CURL_RUNS):
        url = f"{service.url}/length?number=[1-{CURL_REQUESTS}]"
        ran = subprocess.run([*command, url], capture_output=True, timeout=60, check=False)
        assert (ran.returncode, ran.stderr) == (0, b"")
        counts = [ran.stdout.count(part) for part in (b"HTTP/1.1 100 ", b"HTTP/1.1 200 ", b'"results":2000000')]
        assert counts == [CURL_REQUESTS] * 3


def ask_in_pairs(port: int, first: int) -> Counter[int]:
    """Send pairs of requests at once, check that each answer belongs to its request, and return how often each status came."""
    codes, numbers = Counter[int](), iter(range(first, first + 2 * PAIRS, 2))
    for number in numbers:
        with Client(port) as client:
            going = ask_pair(client, number, codes)
            while going and (number := next(numbers, -1)) >= 0:
                going = ask_pair(client, number, codes)
    return codes


def ask_pair(client: Client, number: int, codes: Counter[int]) -> bool:
    """Return whether the connection stays open behind the answers of this request and the next."""
    client.send(echo_request(number, seconds=0.002) + echo_request(number + 1))
    for each in (number, number + 1):
        answer = client.answer()
        check_owner(answer, each)
        codes[answer.status] += 1
        if answer.headers.get("connection") == "close":
            assert client.rest() == []
            return False
    return True


def test_under_overload_each_answer_of_a_pipelined_pair_belongs_to_its_request(small: Running) -> None:
    with ThreadPoolExecutor(OVERLOADING) as pool:
        found = sum(pool.map(lambda first: ask_in_pairs(small.port, first), range(0, OVERLOADING * 10_000, 10_000)), Counter())
    assert set(found) == {200, 429}
    assert min(found.values()) > OVERLOADING


@pytest.mark.parametrize("port", ["data", "admin"])
@pytest.mark.parametrize("path", ["/api/ping", "/status", "/livez", "*"])
def test_an_answer_to_options_sends_what_its_head_promises(service: Running, port: str, path: str) -> None:
    with Client(service.port if port == "data" else service.admin_port) as client:
        for _ in range(3):
            client.send(get_request(path).replace(b"GET", b"OPTIONS", 1) + PING)
            client.answer()
            pong = client.answer()
            assert (pong.status, pong.body) == (200, PONG)


def check_large(answer: Answer) -> None:
    assert (answer.status, len(answer.body)) == (200, LARGE)


def check_waited(answer: Answer) -> None:
    assert (answer.status, json.loads(answer.body)["results"]) == (200, "waited")


def check_status(answer: Answer) -> None:
    assert (answer.status, json.loads(answer.body)["service"]) == (200, "small")


def check_pong(answer: Answer) -> None:
    assert (answer.status, answer.body) == (200, PONG)


def check_length(answer: Answer) -> None:
    assert (answer.status, json.loads(answer.body)["results"]) == (200, 2_000_000)


def check_echo(answer: Answer) -> None:
    assert answer.status == 200
    check_owner(answer, 3)


PICTURE = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000)
ASKED: dict[str, tuple[bytes, Callable[[Answer], None]]] = {
    "ping": (PING, check_pong),
    "model": (echo_request(3), check_echo),
    "slow model": (echo_request(3, seconds=0.5), check_echo),
    "slow route": (get_request("/wait?seconds=0.5"), check_waited),
    "status": (get_request("/status"), check_status),
    "large": (get_request(f"/large?bytes={LARGE}"), check_large),
    "large body": (PICTURE, check_length),
}
TWO = ["model", "slow model", "status", "large"]


@both_paths
@pytest.mark.parametrize("names", [*([name] for name in ASKED), *([a, b] for a in TWO for b in TWO)], ids=" and ".join)
def test_a_client_that_half_closes_after_its_requests_gets_their_whole_answers(service: Running, names: list[str]) -> None:
    with Client(service.port) as client:
        client.send(b"".join(ASKED[name][0] for name in names))
        client.half_close()
        found = client.rest()
    assert len(found) == len(names)
    for name, each in zip(names, found, strict=True):
        ASKED[name][1](each)


def test_a_client_that_half_closes_while_its_request_is_handled_gets_its_whole_answer(service: Running) -> None:
    with Client(service.port) as client, Client(service.port) as other:
        client.send(ASKED["slow model"][0])
        other.send(PING)
        other.answer()  # the front has read both
        client.half_close()
        (answer,) = client.rest()
    check_echo(answer)


@both_paths
def test_a_request_that_a_half_close_cuts_is_not_run(service: Running) -> None:
    whole = echo_request(4)
    with Client(service.port) as client:
        client.send(echo_request(3) + whole[:-1])
        client.half_close()
        first, *others = client.rest()
    check_echo(first)
    assert [answer.status for answer in others] in ([], [400])


def test_an_upgrade_to_http_2_is_served_as_http_1_on_a_connection_that_stays_good(service: Running) -> None:
    with Client(service.port) as client:
        for number in range(3):
            client.send(echo_request(number, *UPGRADE))
            answer = client.answer()
            check_owner(answer, number)
            assert (answer.status, answer.headers.get("connection")) == (200, None)
        client.send(get_request("/api/ping", *UPGRADE) + echo_request(9, *UPGRADE) + get_request("/status", *UPGRADE) + PING)
        pong, echo, status, last = (client.answer() for _ in range(4))
    check_pong(pong)
    check_owner(echo, 9)
    check_status(status)
    check_pong(last)


def test_an_upgrade_with_chunks_is_served_as_http_1(service: Running) -> None:
    body = echo_body(5)
    lines = ["POST /api/small HTTP/1.1", "Host: x", "Content-Type: application/json", "Transfer-Encoding: chunked", *UPGRADE]
    head = "\r\n".join([*lines, "X-Request-Id: id-5", "\r\n"]).encode()
    check_owner(ask(service.port, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)), 5)


PING = head(0, path="/api/ping", method="GET")


def test_hundreds_of_pings_behind_a_slow_request_are_all_answered(slow: Running) -> None:
    with connect(slow) as s:
        s.sendall(head(len(body(0.2))) + body(0.2) + PING * 500)
        assert [answer(s)[0] for _ in range(501)] == [200] * 501


@pytest.mark.parametrize("path", ["/api/ping", "/status"])
def test_a_request_without_a_body_that_expects_100_continue_is_answered_at_once(slow: Running, path: str) -> None:
    with connect(slow) as s:
        s.sendall(head(0, "Expect: 100-continue", path=path, method="GET"))
        assert answer(s)[0] == 200


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
