"""On the metrics page, the stages of each kind of request add up to its duration, and each has the time that it took."""

import io
import json
import re
import socket
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.running import Running, get, make_service, running
from tests.serving.held_service import DATA, DIGITS, LARGE, SMALL, Held, statuses
from tests.serving.inputs.test_fetch import says, serving
from tests.waiting import until

OWN = """
import time

import numpy as np

from serving.api import Arrays, Request, Service, route


class Own(Service):
    pictures = True

    def preprocess(self, request: Request) -> Arrays:
        picture = np.asarray(request.image().convert("L").resize((8, 8)), np.float32)
        time.sleep(0.002)
        return {"images": picture[None, None] / 255}

    def postprocess(self, outputs: Arrays, request: Request) -> int:
        time.sleep(0.002)
        return int(outputs["logits"].argmax())

    @route("/own", pictures=1)
    def own(self, request: Request) -> int:
        return int(self.model(self.preprocess(request), request)["logits"].argmax())
"""
FETCHES = """
import threading

import numpy as np

from serving.api import Arrays, Request, Service, route
from serving.inputs.fetch import Fetcher

Fetcher.__init__.__kwdefaults__.update(allowed=lambda address: True, ports=range(65536), resolve=lambda *_: ["127.0.0.1"])


class Fetches(Service):
    def preprocess(self, request: Request) -> Arrays:
        picture = np.asarray(request.image().convert("L").resize((8, 8)), np.float32)
        return {"images": picture[None, None] / 255}

    @route("/own", pictures=1)
    def own(self, request: Request) -> int:
        return int(self.model(self.preprocess(request), request)["logits"].argmax())
"""
JSON = {"Content-Type": "application/json"}
PIXELS = [[[[0.5] * 8] * 8]]
REQUESTS = 24
OF_MODEL = {"upload", "queue", "decode", "batch", "infer", "encode"}
OF_HANDLE = {"upload", "queue", "handle"}


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "JPEG")
    return file.getvalue()


class Sums:
    """The seconds of all stages, and of all requests, that a service's metrics page has gained."""

    def __init__(self, service: Running):
        self._service = service
        self._stages, self._durations = self._read("stage"), self._read("request")

    def stages(self) -> dict[str, float]:
        """Return the seconds of each stage since the start that has any."""
        found = self._read("stage")
        return {name: found[name] - self._stages[name] for name in found if found[name] > self._stages[name]}

    def duration(self) -> float:
        """Return the seconds of all requests since the start."""
        return sum(self._read("request").values()) - sum(self._durations.values())

    def _read(self, what: str) -> dict[str, float]:
        line = rf'^monopod_{what}_duration_seconds_sum\{{\w+="(\w+)"\}} (\S+)$'
        return {name: float(value) for name, value in re.findall(line, self._service.metrics(), re.MULTILINE)}

    def check(self, stages: set[str]) -> dict[str, float]:
        """Check that these stages alone have gained, and as much together as the requests took. Return their seconds."""
        found, duration = self.stages(), self.duration()
        assert set(found) == stages
        assert duration > 0
        assert abs(sum(found.values()) - duration) < 0.05 * duration
        return found


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(
        tmp_path_factory.mktemp("own") / "small", 'model_path = "model/digits.onnx"', OWN, ("tests/models/digits.onnx",)
    )
    with running(folder) as service:
        yield service


def ask(service: Running, path: str, body: bytes, headers: dict[str, str]) -> None:
    for _ in range(REQUESTS):
        status, text = get(service.url + path, body, headers)
        assert status == 200, text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/models/small/infer", DIGITS),
        ("/v2/models/small/infer", DIGITS + b" " * 2**17),
        ("/v1/models/small:predict", json.dumps({"instances": PIXELS}).encode()),
        ("/api/small", json.dumps({"data": PIXELS}).encode()),
    ],
    ids=["infer, small", "infer, large", "predict", "the service's own route"],
)
def test_the_stages_of_a_plain_models_requests_add_up(digits: Running, path: str, body: bytes) -> None:
    sums = Sums(digits)
    ask(digits, path, body, JSON)
    sums.check(OF_MODEL)


@pytest.mark.parametrize(("path", "stages"), [("/api/small", OF_MODEL), ("/own", OF_HANDLE)], ids=["own hooks", "an own route"])
def test_the_stages_of_requests_with_a_picture_add_up(own: Running, path: str, stages: set[str]) -> None:
    sums = Sums(own)
    ask(own, path, jpeg(), {"Content-Type": "image/jpeg"})
    found = sums.check(stages)
    if stages == OF_MODEL:  # each hook sleeps for 2 ms
        assert min(found["decode"], found["encode"]) > REQUESTS * 0.002
    else:
        assert found["handle"] > REQUESTS * 0.002


@pytest.fixture(scope="module")
def fetches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(
        tmp_path_factory.mktemp("fetches") / "small",
        'model_path = "model/digits.onnx"\nfetch_hosts = ["img.example.com"]',
        FETCHES,
        ("tests/models/digits.onnx",),
    )
    with running(folder) as service:
        yield service


@pytest.mark.parametrize(("path", "stages"), [("/api/small", OF_MODEL), ("/own", OF_HANDLE)], ids=["own hooks", "an own route"])
def test_the_fetch_of_a_url_is_a_stage_of_its_own(fetches: Running, path: str, stages: set[str]) -> None:
    answer = says(jpeg())

    def slowly(client: socket.socket, head: str) -> None:
        time.sleep(0.01)
        answer(client, head)

    with serving(slowly) as server:
        sums = Sums(fetches)
        ask(fetches, path, json.dumps({"image": f"http://img.example.com:{server.port}/a.jpg"}).encode(), JSON)
    found = sums.check(stages | {"fetch"})
    assert REQUESTS * 0.01 < found["fetch"] < sums.duration()


def test_a_fetch_that_the_deadline_ends_adds_its_time_to_its_stage(fetches: Running) -> None:
    with serving(lambda client, head: time.sleep(2)) as server:
        sums = Sums(fetches)
        body = json.dumps({"image": f"http://img.example.com:{server.port}/a.jpg"}).encode()
        assert get(fetches.url + "/api/small", body, {**JSON, "X-Request-Timeout-Ms": "1000"})[0] == 504
    assert sums.check({"upload", "queue", "decode", "fetch"})["fetch"] > 0.15


def test_the_stages_of_requests_to_an_own_handle_add_up(handles: Held) -> None:
    sums = Sums(handles.service)
    ask(handles.service, "/api/small", DATA, JSON)
    sums.check(OF_HANDLE)


def test_the_stages_of_requests_that_fail_add_up(digits: Running) -> None:
    sums = Sums(digits)
    for body, status in ((b"no JSON", 400), (b"{}" + b" " * 2**17, 400)):
        assert [get(digits.url + "/v2/models/small/infer", body, JSON)[0] for _ in range(5)] == [status] * 5
    assert [get(digits.url + "/nowhere", b"{}", JSON)[0] for _ in range(5)] == [404] * 5
    sums.check({"upload", "queue", "decode"})


def test_the_time_of_an_upload_is_a_stage_of_its_own(digits: Running) -> None:
    sums = Sums(digits)
    head = b"POST /v2/models/small/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", digits.port), timeout=20) as client:
        client.sendall(head % len(DIGITS) + DIGITS[:10])
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        client.sendall(DIGITS[10:])
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert sums.check(OF_MODEL)["upload"] > 0.25


@pytest.mark.parametrize(
    ("service", "step", "path", "body", "stage"),
    [
        ("hooks", "hook", "/api/small", DATA, "decode"),
        ("hooks", "model", "/v2/models/small/infer", SMALL, "queue"),
        ("hooks", "route", "/held", b"{}", "handle"),
        ("handles", "hook", "/api/small", DATA, "handle"),
    ],
    ids=["in a hook", "behind a batch", "in an own route", "in an own handle"],
)
def test_a_request_that_its_deadline_ends_adds_its_time_to_the_stage_in_which_it_was(
    request: pytest.FixtureRequest, service: str, step: str, path: str, body: bytes, stage: str
) -> None:
    held: Held = request.getfixturevalue(service)
    held.hold(step)
    first = held.ask(1) if step == "model" else []  # it has the only instance, and is answered after the deadline
    until(lambda: not first or held.service.metric('monopod_batch_running_seconds{model="small"}') > 0)
    sums = Sums(held.service)
    assert statuses(held.ask(3, path, body, seconds=0.4)) == [504] * 3
    found = sums.stages()
    assert sum(found.values()) == pytest.approx(sums.duration(), rel=0.05)
    assert found[stage] > (0.3 if stage == "decode" else 0.9)  # the only decode thread has one of them; the others wait for it
    if stage == "decode":
        assert found["decode"] + found["queue"] > 0.9
    held.calm()
    assert statuses(first) == [200] * len(first)


def test_a_request_that_its_deadline_ends_in_a_batch_was_with_the_model(hooks: Held) -> None:
    sums = Sums(hooks.service)
    hooks.hold("model")
    assert statuses(hooks.ask(1, "/v2/models/small/infer", SMALL, seconds=0.4)) == [504]
    assert sums.check({"upload", "queue", "decode", "infer"})["infer"] > 0.2
    hooks.calm()


def test_a_request_that_waits_for_a_decode_thread_is_in_the_queue(hooks: Held) -> None:
    hooks.hold("hook")
    first = hooks.ask(1)
    hooks.wait_rows(1)
    sums = Sums(hooks.service)
    assert statuses(hooks.ask(3, "/v2/models/other/infer", LARGE, seconds=0.4)) == [504] * 3
    found = sums.stages()
    assert found["queue"] > 0.9
    assert "decode" not in found
    hooks.calm()
    assert statuses(first) == [200]
