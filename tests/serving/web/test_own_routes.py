"""A service's own routes have their names, and those that hang leave deadlines, clients and other routes as they are."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.web.admission import LIGHT_LIMIT
from tests.running import Running, get, make_service, post_json, running
from tests.waiting import until

SETTINGS = "queue_limit = 5\nmax_batch_size = 1\ntimeout_second = 1\nstuck_after_second = 2\n"
WORK = 5  # requests at once
JSON = {"Content-Type": "application/json"}
SERVER = """
import time
from collections.abc import Iterator
from pathlib import Path

from serving.api import Request, Service, route


class Hanging(Service):
    def wait(self) -> None:
        while not (self.folder / "free").exists():
            time.sleep(0.02)

    @route("/hang", "POST")
    def hang(self, request: Request) -> int:
        self.wait()
        return 1

    @route("/look/<name>", "GET")
    def look(self, request: Request) -> int:
        self.wait()
        return 1

    @route("/lines", "GET", streams="application/x-ndjson")
    def lines(self, request: Request) -> Iterator[int]:
        yield 1
        self.wait()
        yield 2
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with running(make_service(tmp_path / "small", SETTINGS, SERVER)) as one:
        yield one


def fill(service: Running, rounds: int) -> set[int]:
    """Send as many requests as are let in at once, several times, and return the statuses of their answers."""
    work, light = (service.url + "/hang", b"{}", JSON), (service.url + "/%6Cook/a%20b", None, None)
    found = set[int]()
    with ThreadPoolExecutor(WORK + LIGHT_LIMIT) as pool:
        for _ in range(rounds):
            answers = [pool.submit(get, *one) for one in [work] * WORK + [light] * LIGHT_LIMIT]
            found.update(each.result()[0] for each in answers)
    return found


def test_where_every_thread_of_own_routes_hangs_the_platforms_routes_answer_and_liveness_fails(
    service: Running, tmp_path: Path
) -> None:
    assert fill(service, 2) == {504}
    assert {get(service.url + path)[0] for path in ("/status", "/openapi.json", "/health", "/", "/v2")} == {200}
    assert get(service.url + "/nowhere")[0] == 404
    until(lambda: get(service.admin + "/livez")[0] == 503)
    assert b"the service's own code" in get(service.admin + "/livez")[1]
    (tmp_path / "small/free").touch()
    until(lambda: get(service.admin + "/livez")[0] == 200)
    assert get(service.url + "/hang", b"{}", JSON) == (200, b'{"results":1,"msg":""}')


def test_a_client_that_goes_leaves_its_place_to_others_while_the_route_hangs(service: Running) -> None:
    for _ in range(2 * WORK):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(b"POST /hang HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            until(lambda: json.loads(get(service.url + "/status")[1])["in_progress"] == 1)
        until(lambda: json.loads(get(service.url + "/status")[1])["in_progress"] == 0)
    assert service.left() == 2 * WORK


def test_a_stream_that_hangs_ends_at_its_deadline_with_what_it_gave(service: Running) -> None:
    status, body = get(service.url + "/lines")
    first, last = body.splitlines()
    assert (status, first, json.loads(last)["reason"]) == (200, b"1", "deadline_passed")


IMPORTS = "from serving.service.service import Answer, Service, route\n"


@pytest.mark.parametrize("path", ["predict", "infer", "ready", "metadata", "page", "service", "live"])
def test_a_services_own_route_may_have_the_name_of_one_of_the_platforms(tmp_path: Path, path: str) -> None:
    server = IMPORTS + f"class S(Service):\n @route('/{path}')\n def own(self, r): return 1\n"
    with running(make_service(tmp_path / "s", "", server)) as service:
        assert post_json(f"{service.url}/api/small/{path}", {})[1]["results"] == 1
        assert f'monopod_requests_total{{code="200",reason="",route="{path}"}}' in service.metrics()
