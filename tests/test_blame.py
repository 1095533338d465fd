"""A client's mistakes alone raise no alert: requests go to a real service, and its metrics are run against its rules."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conf.rule_files import rule_groups, written
from tests.promtool import firing
from tests.running import Running, get, make_service, post_json, running

TIMEOUT = 4.0  # seconds: a machine that runs other tests answers within half of it, which is the objective
MANY = 20
CODE = """
    def handle(self, request):
        if request.data == "fail":
            raise RuntimeError("broken")
        return request.data
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    code = f"from serving.service.service import Service\n\n\nclass Blamed(Service):{CODE}"
    with running(make_service(tmp_path / "small", f"timeout_second = {TIMEOUT:g}", code)) as it:
        yield it


def junk(service: Running) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as s:
        s.sendall(b"junk\r\n\r\n")
        assert b" 400 " in s.recv(1000)


def no_time(service: Running) -> None:
    headers = {"Content-Type": "application/json", "X-Request-Timeout-Ms": "1"}
    status, body = get(service.url + "/api/small", b'{"data": 1}', headers)
    assert (status, json.loads(body).get("reason")) in ((504, "short_deadline"), (200, None))


def slow_upload(service: Running) -> None:
    body = b'{"data": 1}'
    with socket.create_connection(("127.0.0.1", service.port)) as s:
        s.sendall(b"POST /api/small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        s.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
        time.sleep(0.85 * TIMEOUT)
        s.sendall(body[-1:])
        assert s.recv(1000)[9:12] in (b"200", b"504")


def failure(service: Running) -> None:
    assert post_json(service.url + "/api/small", {"data": "fail"})[0] == 500


def raised(service: Running, act: Callable[[Running], None], tmp_path: Path) -> set[str]:
    """Return the alerts that fire where an action's changes of the metrics page repeat every minute."""
    before = series(service)
    with ThreadPoolExecutor(MANY) as clients:
        list(clients.map(act, [service] * MANY))
    after = series(service)
    changes = {name: f"{before.get(name, 0.0):g}{value - before.get(name, 0.0):+g}x20" for name, value in after.items()}
    groups = rule_groups(tmp_path / "small")
    path = written(groups, tmp_path / "rules.yaml")
    changes |= {'up{namespace="like",service="small"}': "1x20"}
    return firing(path, changes, "19m", tmp_path)


def series(service: Running) -> dict[str, float]:
    """Return each series of the metrics page as a scrape would name it, and its value."""
    found = {}
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", service.metrics(), re.MULTILINE):
        scraped = [label for label in (labels, 'namespace="like"', 'service="small"') if label]
        if "service=" not in labels:
            found[f"{name}{{{','.join(scraped)}}}"] = float(value)
    return found


@pytest.mark.parametrize("act", [junk, no_time, slow_upload])
def test_the_mistakes_of_clients_alone_raise_no_alert(act: Callable[[Running], None], service: Running, tmp_path: Path) -> None:
    assert raised(service, act, tmp_path) == set()


def test_the_failures_of_the_service_raise_alerts(service: Running, tmp_path: Path) -> None:
    assert raised(service, failure, tmp_path) == {"ErrorBudgetBurnsFast"}
