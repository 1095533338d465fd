"""Slow fetches take a share of a service's queue and leave the rest to requests that need no fetch."""

import base64
import io
import json
import socket
import threading
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from tests.running import Running, get, make_service, running
from tests.serving.inputs.test_fetch import says, serving
from tests.serving.test_stage_sums import FETCHES
from tests.waiting import until

QUEUE, FLOOD, GOOD = 8, 24, 11
SETTINGS = f"""
model_path = "model/digits.onnx"
fetch_hosts = ["img.example.com"]
queue_limit = {QUEUE}
max_rows_per_request = 1
"""
JSON = {"Content-Type": "application/json"}


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    return file.getvalue()


def ask(service: Running, path: str, image: str) -> tuple[int, str | None]:
    """Return the status of an answer, and its Retry-After."""
    request = urllib.request.Request(service.url + path, json.dumps({"image": image}).encode(), JSON)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers["Retry-After"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


@pytest.mark.parametrize("path", ["/api/small", "/own"])
def test_slow_fetches_leave_room_for_pictures_that_need_none(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    go_on, answer = threading.Event(), says(picture())

    def wait(client: socket.socket, head: str) -> None:
        assert go_on.wait(30)
        answer(client, head)

    folder = make_service(tmp_path_factory.mktemp("share") / "small", SETTINGS, FETCHES, ("tests/models/digits.onnx",))
    with serving(wait) as server, running(folder) as service, ThreadPoolExecutor(FLOOD) as threads:
        url = f"http://img.example.com:{server.port}/a.png"
        slow = [threads.submit(ask, service, path, url) for _ in range(FLOOD)]
        until(lambda: len(server.heads) == QUEUE // 2 and sum(each.done() for each in slow) == FLOOD - QUEUE // 2)
        sent = base64.b64encode(picture()).decode()
        assert [ask(service, path, sent) for _ in range(GOOD)] == [(200, None)] * GOOD
        go_on.set()
        assert Counter(each.result(60) for each in slow) == {(200, None): QUEUE // 2, (429, "1"): FLOOD - QUEUE // 2}
        refused = url.replace(str(server.port), "1")
        assert [ask(service, path, refused)[0] for _ in range(QUEUE)] == [
            400
        ] * QUEUE  # a fetch that fails gives its place back
        assert ask(service, path, url) == (200, None)
        assert get(service.url + "/health")[0] == 200
