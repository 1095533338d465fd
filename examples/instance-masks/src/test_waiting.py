"""Requests that wait for their turn, behind more pictures than are looked at side by side."""

import http.client
import json
from collections.abc import Iterator

import pytest

from tests.running import ROOT, Running, get, running
from tests.waiting import until

COINS = (ROOT / "examples/images/coins.png").read_bytes()
COFFEE = (ROOT / "examples/images/coffee.jpg").read_bytes()
MANY = 12  # requests, of which at most three work at a time
DETECT = "/api/like/instance-masks/detect"


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running(ROOT / "examples/instance-masks") as it:
        get(it.url + DETECT, COFFEE, {"Content-Type": "image/jpeg"})  # the model is loaded
        yield it


@pytest.fixture
def busy(service: Running) -> Iterator[list[http.client.HTTPConnection]]:
    """Clients that have each sent a picture with many windows, and wait for the answer."""
    clients = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=30) for _ in range(MANY)]
    for each in clients:
        each.request("POST", DETECT + "?material=coins", COINS, {"Content-Type": "image/png"})
    wait_until(service, "monopod_requests_in_progress", MANY)
    yield clients
    for each in clients:
        each.close()
    wait_until(service, "monopod_requests_in_progress", 0)


def wait_until(service: Running, metric: str, wanted: float) -> None:
    until(lambda: service.metric(metric) == wanted)


def pictures(service: Running, material: str) -> float:
    return service.metric(f'instance_masks_pictures_total{{material="{material}",model="common"}}')


def test_a_deadline_that_passes_in_the_queue_is_a_504_at_once(service: Running, busy: list[http.client.HTTPConnection]) -> None:
    before = pictures(service, "objects")
    headers = {"Content-Type": "image/jpeg", "X-Request-Timeout-Ms": "300"}
    status, body = get(service.url + DETECT, COFFEE, headers)
    assert (status, json.loads(body)["reason"]) == (504, "short_deadline")
    assert service.metric("monopod_requests_in_progress") >= MANY - 1  # none was held back until its turn
    assert pictures(service, "objects") == before


def test_pictures_of_clients_that_went_away_are_not_looked_at(service: Running, busy: list[http.client.HTTPConnection]) -> None:
    left, coins = service.left(), pictures(service, "coins")
    for each in busy:
        each.close()
    until(lambda: service.left() == left + MANY)  # until then they fill the queue
    assert get(service.url + DETECT, COFFEE, {"Content-Type": "image/jpeg"})[0] == 200
    assert pictures(service, "coins") == coins
