"""Requests of the data port go to their routes, however their paths are written, and each is counted and logged once."""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from serving.base.errors import SHED, BadInput, NotFound, QueueFull, WrongContentType
from serving.core.messages import RawRequest, Reply
from serving.models.registry import Handle, ModelRegistry
from serving.models.tensors import ModelSpec
from serving.settings import Settings
from serving.telemetry.access_log import AccessLog
from serving.telemetry.metrics import Metrics
from serving.web import data_port
from serving.web.data_port import REFUSALS_LOGGED_A_SECOND, DataPort, HotRoute, HotRoutes, refusal_counter
from serving.web.front.request_cycle import RequestCycle
from tests.serving.models.recording import RecordingObserver
from tests.serving.models.registries import X, Y, double
from tests.serving.web.request_cycles import Front, kept, own_loop

SPEC = ModelSpec("m", (X,), (Y,), True)
OUTPUTS = {"y": np.full((1, 2), 4, np.float32)}


class KeptCalls:
    """A core that keeps what it is asked, and answers nothing."""

    fits_loop = True

    def __init__(self) -> None:
        self.answered: list[RawRequest] = []
        self.inferred: list[tuple[str, RawRequest, Callable[[bytes, ModelSpec], Any]]] = []

    def answer(self, raw: RawRequest, done: Callable[..., None], few_parameters: bool = True) -> None:
        self.answered.append(raw)

    def read(self, body: bytes, header_length: str | None, spec: ModelSpec) -> Any:
        raise NotImplementedError

    def infer(
        self,
        model: Handle,
        raw: RawRequest,
        decode: Callable[[bytes, ModelSpec], Any],
        done: Callable[..., None],
        binary: bool = False,
    ) -> None:
        self.inferred.append((model.name, raw, decode))


class Routes:
    """The hot routes of service s of user u, with the models m and "a b"."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop):
        settings = Settings(service_name="s", username="u")
        self.models = ModelRegistry(folder, settings, RecordingObserver())
        self.models.add("m", double, (X,), (Y,))
        self.models.add("a b", double, (X,), (Y,))
        self.core, self.front = KeptCalls(), Front(loop)
        self.routes = HotRoutes(settings, self.models, self.core)  # type: ignore[arg-type]

    def find(self, path: str) -> tuple[str, str] | None:
        """Return the label of a path's route and the model in whose queue it counts."""
        route = self.routes.find(path)
        return None if route is None else (route.label, route.queue)

    def start(self, path: str, *lines: bytes, body: bytes = b"{}") -> RequestCycle:
        """Start a request."""
        cycle = self.front.cycle(b"POST %s HTTP/1.1\r\nHost: x\r\n" % path.encode(), *lines)
        assert cycle.run(body, True) is None
        route = self.routes.find(cycle.head.path)
        assert isinstance(route, HotRoute)
        route.start(cycle)
        return cycle


@pytest.fixture
def routes(tmp_path: Path) -> Iterator[Routes]:
    with own_loop() as loop:
        made = Routes(tmp_path, loop)
        yield made
        for model in made.models.loaded():
            assert model.close(20)


@pytest.mark.parametrize("prefix", ["/api/s", "/api/u/s"])
@pytest.mark.parametrize("end", ["", "/"])
def test_the_services_own_route_answers_under_both_prefixes(routes: Routes, prefix: str, end: str) -> None:
    for _ in range(2):  # it is remembered by then
        assert routes.find(prefix + end) == ("service", "s")


@pytest.mark.parametrize("path", ["/api/s", "/api/u/s/", "/api/%73"])
def test_the_services_own_route_has_its_model_as_soon_as_that_is_loaded(routes: Routes, path: str) -> None:
    def model_of(path: str) -> Handle | None:
        route = routes.routes.find(path)
        assert route is not None
        return route.model

    assert [model_of(path) for _ in range(2)] == [None, None]
    added = routes.models.add("s", double, (X,), (Y,))
    found = model_of(path)
    assert found is not None
    assert found._entry is added._entry
    assert model_of(path) is found, "it is remembered"


@pytest.mark.parametrize("prefix", ["", "/api/s", "/api/u/s"])
@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/v2/models/m/infer", "infer"),
        ("/v2/models/m/infer/", "infer"),
        ("/v2/models/m/versions/1/infer", "infer_v"),
        ("/v1/models/m:predict", "predict"),
        ("/v1/models/m:predict/", "predict"),
    ],
)
def test_a_model_answers_under_every_prefix(routes: Routes, prefix: str, path: str, label: str) -> None:
    for _ in range(2):
        assert routes.find(prefix + path) == (label, "m")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/api/%73", ("service", "s")),
        ("/api%2Fs", ("service", "s")),
        ("/%61pi/u/s%2f", ("service", "s")),
        ("/v2/models/%6D/infer", ("infer", "m")),
        ("/v2/models/a%20b/infer", ("infer", "a b")),
        ("/v1/models/a%20b%3Apredict", ("predict", "a b")),
        ("/v2/models/a+b/infer", ("infer", "")),  # a plus stands for a space in queries alone
        ("/v2/models/m%2Finfer", ("infer", "m")),
    ],
)
def test_a_path_may_be_percent_encoded(routes: Routes, path: str, found: tuple[str, str]) -> None:
    for _ in range(2):
        assert routes.find(path) == found


NOT_HOT = [
    "", "*", "/", "/api", "/api/", "/api/S", "/api/s//", "//api/s", "/api/ss", "/api/s/s", "/api/u", "/api/u/s/other",
    "/api/other/s", "/api/%2573", "/api/s%00", "/api/s\n", "/api/s/v2/models/m/infer/more", "/api/s/api/s/v2/models/m/infer",
    "/api/sv2/models/m/infer", "/v2/models//infer", "/v2/models/m/x/infer", "/v2/models/m/infers",
    "/v2/models/m/versions//infer", "/v2/models/m/versions/infer", "/v2/models/m/infer\n", "/v1/models/:predict",
    "/v1/models/m:n:predict", "/v1/models/m:predict:predict", "/v1/models/m/infer", "/v2/models/m:predict",
    "/v2/models/m/ready", "/%ff%fe",
]  # fmt: skip


@pytest.mark.parametrize("path", NOT_HOT)
def test_what_only_looks_like_a_hot_route_is_left_to_others(routes: Routes, path: str) -> None:
    assert routes.find(path) is None


@pytest.mark.parametrize("path", ["/v2/models/none/infer", "/v1/models/none:predict", "/v2/models/none/versions/1/infer"])
def test_an_unknown_model_is_a_404_that_names_the_models(routes: Routes, path: str) -> None:
    with pytest.raises(NotFound, match="the models are m, a b"):
        routes.start(path)


def test_an_unknown_version_is_a_404_that_names_the_version(routes: Routes) -> None:
    with pytest.raises(NotFound, match="has no version '2'"):
        routes.start("/v2/models/m/versions/2/infer")


def test_names_that_clients_invent_count_in_no_queue(routes: Routes) -> None:
    """A queue of its own for each would stay for ever, on the metrics' page too."""
    assert routes.find("/v2/models/invented/infer") == ("infer", "")
    assert routes.find("/v1/models/invented:predict") == ("predict", "")
    assert routes.find("/v2/models/m/versions/invented/infer") == ("infer_v", "")


def test_paths_that_clients_invent_are_not_remembered(routes: Routes) -> None:
    before = len(routes.routes._known)
    for number in range(50):
        for path in ("/x{}", "/v2/models/x{}/infer", "/v2/models/m/versions/{}1/infer", "/v1/models/x{}:predict", "/api/s/{}"):
            routes.routes.find(path.format(number))
    assert len(routes.routes._known) == before


def test_so_many_paths_are_remembered_and_the_next_are_found_too(routes: Routes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_port, "MAX_KNOWN", 4)
    paths = ["/v2/models/m/infer", "/v2/models/%6d/infer", "/v2/%6dodels/m/infer", "/%76%32/models/m/infer"]
    for _ in range(2):
        assert [routes.find(each) for each in paths] == [("infer", "m")] * 4
    assert len(routes.routes._known) == 4


def test_the_services_own_route_gives_the_request_to_the_core(routes: Routes) -> None:
    cycle = routes.start("/api/s?a=1&a=2&b=%20", b"Content-Type: Application/JSON; charset=utf-8", body=b'{"x": 1}')
    (raw,) = routes.core.answered
    assert (raw.id, raw.life, raw.times) == (cycle.id, cycle.life, cycle.times)
    assert (raw.kind, raw.length, raw.read()) == ("application/json", 8, b'{"x": 1}')
    assert raw.parameters() == {"a": "1", "b": " "}


def test_an_inference_is_decoded_and_encoded_as_the_protocol_says(routes: Routes) -> None:
    sent = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}],
        "parameters": {"timeout": 5_000_000},
    }
    cycle = routes.start("/v2/models/m/infer", body=json.dumps(sent).encode())
    ((name, raw, decode),) = routes.core.inferred
    arrays, encode = decode(raw.read(), SPEC)
    assert (name, arrays["x"].tolist()) == ("m", [[1.0, 2.0]])
    assert cycle.life.deadline == cycle.life.begin + 5
    reply = encode(OUTPUTS)
    assert isinstance(reply, Reply)
    assert (reply.content_type, reply.headers) == ("application/json", ())
    assert json.loads(reply.body)["outputs"][0]["data"] == [4.0, 4.0]


def test_an_inference_with_binary_tensors_is_answered_with_the_length_of_its_head(routes: Routes) -> None:
    tensor = np.array([[1, 2]], np.float32).tobytes()
    described = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": len(tensor)}}
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    lines = (b"Content-Type: application/octet-stream", b"Inference-Header-Content-Length: %d" % len(head))
    routes.start("/v2/models/m/infer", *lines, body=head + tensor)
    ((_, raw, decode),) = routes.core.inferred
    arrays, encode = decode(raw.read(), SPEC)
    assert arrays["x"].tolist() == [[1.0, 2.0]]
    reply = encode(OUTPUTS)
    ((name, length),) = reply.headers
    assert (reply.content_type, name) == ("application/octet-stream", "Inference-Header-Content-Length")
    assert reply.body[int(length) :] == OUTPUTS["y"].tobytes()


def test_a_prediction_is_decoded_and_encoded_as_the_older_protocol_says(routes: Routes) -> None:
    routes.start("/v1/models/m:predict", body=b'{"instances": [[1, 2]]}')
    ((name, raw, decode),) = routes.core.inferred
    arrays, encode = decode(raw.read(), SPEC)
    assert (name, arrays["x"].tolist()) == ("m", [[1.0, 2.0]])
    assert json.loads(encode(OUTPUTS).body) == {"predictions": [[4.0, 4.0]]}


@pytest.mark.parametrize("kind", [b"text/plain", b"image/jpeg", b"application/x-www-form-urlencoded"])
def test_an_inference_of_another_content_type_is_a_415(routes: Routes, kind: bytes) -> None:
    with pytest.raises(WrongContentType, match="is not taken here"):
        routes.start("/v2/models/m/infer", b"Content-Type: " + kind)


@pytest.mark.parametrize("path", ["/api/s", "/v2/models/m/infer", "/v1/models/m:predict"])
def test_a_compressed_body_is_a_415_on_every_hot_route(routes: Routes, path: str) -> None:
    with pytest.raises(WrongContentType, match="content encoding 'gzip'"):
        routes.start(path, b"Content-Encoding: gzip")
    routes.start(path, b"Content-Encoding: identity")


def test_a_url_of_too_many_parameters_is_a_400(routes: Routes) -> None:
    cycle = routes.front.cycle(b"POST /api/s?%s HTTP/1.1\r\nHost: x\r\n" % b"&".join([b"a"] * 10_001))
    with pytest.raises(BadInput, match="more than 10000 parameters"):
        cycle.parameters()
    assert kept(cycle).answers == []


FINE = Reply(b"{}")


class Hot:
    """One hot route, /hot, which counts in the queue of model m. /missing is hot too, and raises."""

    def __init__(self) -> None:
        self.started: list[RequestCycle] = []

    def find(self, path: str) -> HotRoute | None:
        routes = {"/hot": HotRoute("infer", "m", self.started.append), "/missing": HotRoute("infer", "s", self._missing)}
        return routes.get(path)

    def _missing(self, cycle: RequestCycle) -> None:
        raise NotFound("no such model")


class Access:
    """Keeps the access lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def note(self, *line: Any) -> None:
        self.lines.append(line)


class Asked:
    """A data port whose requests end when the test says so."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop):
        self.other: list[RequestCycle] = []  # what the worker threads would run
        self.hot, self.access, self.metrics = Hot(), Access(), Metrics()
        self.models = ModelRegistry(folder, Settings(service_name="s", username="u"), RecordingObserver())
        hot, other, access = cast(HotRoutes, self.hot), self.other.append, cast(AccessLog, self.access)
        self.port = DataPort(hot, other, lambda method, path: f"found {method} {path}", self.models, self.metrics, access, "s")
        self.front = Front(loop, self.port.run)
        object.__setattr__(self.front.rules, "ended", self.port.ended)

    def begin(self, line: bytes, *lines: bytes) -> RequestCycle:
        cycle = self.front.cycle(line + b" HTTP/1.1\r\nHost: x\r\n", *lines)
        assert cycle.run(b"{}", True) is None
        return cycle

    def value(self, line: str) -> float:
        """Return a metric's value. line: name and labels as on the page."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.metrics.page().decode(), re.MULTILINE)
        return float(found[1]) if found else -1.0


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    with own_loop() as loop:
        yield Asked(tmp_path, loop)


def test_a_hot_route_is_started_and_what_it_expects_is_forgotten_when_it_ends(asked: Asked) -> None:
    cycle = asked.begin(b"POST /hot")
    assert (asked.hot.started, asked.other, cycle.route) == ([cycle], [], "infer")
    assert asked.models.waiting_rows() == 0
    asked.models.expect("m", cycle.life)  # as the core does when the request leaves the loop
    cycle.finish(FINE)
    assert asked.models.waiting_rows() == 0


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"HEAD", b"OPTIONS"])
def test_a_hot_path_by_another_method_is_left_to_others(asked: Asked, method: bytes) -> None:
    cycle = asked.begin(method + b" /hot")
    assert (asked.hot.started, asked.other) == ([], [cycle])


def test_any_other_work_counts_as_a_row_of_the_service_and_light_requests_do_not(asked: Asked) -> None:
    work, light = asked.begin(b"POST /own"), asked.begin(b"GET /own")
    assert asked.other == [work, light]
    assert asked.models.waiting_rows("s") == 1
    assert asked.models.oldest_age("s") > 0
    light.finish(FINE)
    assert asked.models.waiting_rows("s") == 1
    work.finish(FINE)
    assert (asked.models.waiting_rows("s"), asked.models.oldest_age("s")) == (0, 0.0)


@pytest.mark.parametrize("how", ["an error", "a client that has gone", "a deadline"])
def test_no_row_waits_once_a_request_has_ended_in_any_way(asked: Asked, how: str) -> None:
    cycle = asked.begin(b"POST /hot")
    if how == "an error":
        cycle.finish(BadInput("bad"))
    elif how == "a client that has gone":
        cycle.abandon()
    else:
        cycle.finish(cycle.life.too_late())
    assert (asked.models.waiting_rows(), asked.front.gate.empty()) == (0, True)


def test_a_route_that_refuses_at_once_is_answered_and_counted(asked: Asked) -> None:
    cycle = asked.begin(b"POST /missing")
    assert kept(cycle).status == 404
    assert asked.value('monopod_requests_total{code="404",reason="not_found",route="infer"}') == 1
    assert asked.models.waiting_rows() == 0


def test_the_stages_of_a_request_add_up_to_its_duration_on_the_page(asked: Asked) -> None:
    cycle = asked.begin(b"POST /hot")
    cycle.times.begin("decode")
    cycle.times.begin("queue")
    cycle.finish(FINE)
    stages = [line for line in asked.metrics.page().decode().splitlines() if "stage_duration_seconds_sum" in line]
    total = asked.value('monopod_request_duration_seconds_sum{route="infer"}')
    assert total > 0
    assert sum(float(line.split()[-1]) for line in stages) == pytest.approx(total, rel=1e-6)


def test_requests_without_work_have_a_duration_and_no_stages(asked: Asked) -> None:
    asked.begin(b"GET /page").finish(FINE)
    assert asked.value('monopod_request_duration_seconds_count{route="found GET /page"}') == 1
    assert asked.value('monopod_stage_duration_seconds_count{stage="queue"}') == 0


def test_a_route_is_named_by_whoever_ran_it_and_else_found_by_its_path(asked: Asked) -> None:
    named, unnamed = asked.begin(b"POST /own/7"), asked.begin(b"POST /own/8")
    named.route = "own"
    named.finish(FINE)
    unnamed.abandon()
    assert [line[4] for line in asked.access.lines] == ["own", "found POST /own/8"]


def test_the_status_that_the_page_polls_is_logged_and_not_counted(asked: Asked) -> None:
    cycle = asked.begin(b"GET /status")
    cycle.route = "status"
    cycle.finish(FINE)
    assert 'route="status"' not in asked.metrics.page().decode()
    assert len(asked.access.lines) == 1


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", "a" * 32),
        (b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01", ""),
        (b"no trace", ""),
    ],
)
def test_an_access_line_holds_what_is_known_of_a_request(asked: Asked, header: bytes, trace: str) -> None:
    cycle = asked.begin(b"POST /hot", b"X-Request-Id: id-7", b"traceparent: " + header)
    cycle.finish(BadInput("bad"))
    ((_, method, path, name, route, status, milliseconds, reason, found),) = asked.access.lines
    assert (method, path, name, route, status, reason) == ("POST", b"/hot", "id-7", "infer", 400, "bad_input")
    assert 0 <= milliseconds < 60_000
    assert found == trace


def test_a_refusal_is_counted_always_and_logged_so_often_a_second(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    refused = refusal_counter(metrics)
    page = metrics.page().decode()
    for kind in SHED:
        assert f'monopod_shed_total{{reason="{kind.reason}"}} 0\n' in page
    with caplog.at_level(logging.INFO):
        for _ in range(REFUSALS_LOGGED_A_SECOND * 10):
            refused(QueueFull("full"), 0.0)
    page = metrics.page().decode()
    assert 'monopod_shed_total{reason="queue_full"} 100\n' in page
    assert 'monopod_requests_total{code="429",reason="queue_full",route="refused"} 100\n' in page
    assert 0 < len(caplog.records) < 100
    assert json.dumps(caplog.records[0].getMessage()) == '"refused: full"'
