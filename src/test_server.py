"""The service's own tests: its answers to known pictures, through the real server."""

import json
from collections.abc import Iterator

import pytest

from tests.running import ROOT, Running, running
from tests.running import get as ask


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running(ROOT) as it:
        yield it


@pytest.mark.parametrize(("picture", "label"), [("coffee.jpg", "espresso"), ("chelsea.jpg", "Egyptian cat")])
def test_known_pictures_get_their_label(service: Running, picture: str, label: str) -> None:
    body = (ROOT / "examples/images" / picture).read_bytes()
    status, answer = ask(service.url + "/api/like/demo", body, {"Content-Type": "image/jpeg"})
    assert status == 200
    results = json.loads(answer)["results"]
    assert results[0]["label"] == label
    assert [r["score"] for r in results] == sorted((r["score"] for r in results), reverse=True)
