"""The lane and the general path answer, count and log alike, over sockets, whatever comes in the middle of a turn."""

import contextlib
import json
import logging
import random
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from serving.models.model import MAX_STALLS
from serving.settings.exported_metrics import METRICS
from serving.web.admission import DRAINING
from serving.web.lane import Lane, read_head
from tests import small_models
from tests.running import make_service
from tests.serving import echo_service
from tests.serving.echo_service import Client
from tests.serving.web.served_here import ServedHere, served_here
from tests.serving.web.test_framing import BAD
from tests.waiting import until

SEED, COUNT, AT_ONCE = 26, 800, 8  # requests, and connections that send theirs together
MAX_BATCH = 8
SETTINGS = f'model_path = "model/small.onnx"\nmax_batch_size = {MAX_BATCH}\nmax_rows_per_request = 16\nmemory = "4Gi"'
SERVER = """
from serving.api import Service


class Several(Service):
    def setup(self) -> None:
        for name in ("lookup", "types"):
            self.models.load(name, f"model/{name}.onnx")
"""
TYPES = ("BOOL", "UINT8", "INT16", "UINT32", "INT64", "FP16", "FP64")
ONES = {"BOOL": True, "FP16": 1.0, "FP64": 0.1}
FORMATS = {"BOOL": "?", "UINT8": "B", "INT16": "h", "UINT32": "I", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d"}
Tensor = dict[str, Any]


def make_folder(folder: Path) -> Path:
    """Write a service with a model of two inputs, one that refuses some values, and one of many datatypes."""
    made = make_service(folder, SETTINGS, SERVER)
    same = [helper.make_node("Identity", [a], [b]) for a, b in (("x", "y"), ("i", "j"))]
    inputs = [small_models.tensor("x", ("n", 4)), small_models.tensor("i", ("n", 2), "INT64")]
    outputs = [small_models.tensor("y", ("n", 4)), small_models.tensor("j", ("n", 2), "INT64")]
    small_models.write(made / "model/small.onnx", same, inputs, outputs)
    small_models.lookup(made / "model/lookup.onnx")
    names = [name.lower() for name in TYPES]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names]
    inputs = [small_models.tensor(name, ("n", 3), kind) for name, kind in zip(names, TYPES, strict=True)]
    outputs = [small_models.tensor(f"{name}_out", ("n", 3), kind) for name, kind in zip(names, TYPES, strict=True)]
    small_models.write(made / "model/types.onnx", nodes, inputs, outputs)
    return made


@contextlib.contextmanager
def off(served: ServedHere) -> Iterator[None]:
    """Have every batch run on its model's thread."""
    for model in served.context.models.loaded():
        model.loop_engine = None
    yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("lane") / "small")


@pytest.fixture
def served(folder: Path) -> Iterator[ServedHere]:
    with served_here(folder) as one:
        assert all(model.loop_engine is not None for model in one.context.models.loaded())
        one.access.flush = lambda: None  # type: ignore[method-assign]  # a test sees the lines
        yield one


@pytest.fixture
def general(folder: Path) -> Iterator[ServedHere]:
    with served_here(folder) as one, off(one):
        one.access.flush = lambda: None  # type: ignore[method-assign]
        yield one


def tensor(chance: random.Random, name: str, kind: str, rows: int, columns: int) -> Tensor:
    values: list[Any] = [
        [chance.randint(0, 1) * ONES.get(kind, chance.randint(1, 99)) for _ in range(columns)] for _ in range(rows)
    ]
    if kind == "BOOL":
        values = [[bool(value) for value in row] for row in values]
    shape = [rows, columns] if columns else [rows]
    data = values if columns and chance.random() < 0.3 else [value for row in values for value in row]
    return {"name": name, "datatype": kind, "shape": shape, "data": data if columns else [0] * rows}


def as_bytes(tensors: list[Tensor]) -> bytes:
    """Move the data of tensors out of the JSON, and return it."""
    found = b""
    for each in tensors:
        data = each.pop("data")
        flat = [value for part in data for value in part] if data and isinstance(data[0], list) else data
        raw = struct.pack(f"<{len(flat)}{FORMATS[each['datatype']]}", *flat)
        each["parameters"] = {"binary_data_size": len(raw)}
        found += raw
    return found


def body_of(chance: random.Random) -> tuple[str, bytes, list[bytes]]:
    """Draw a path, a body, and the header lines that belong to it."""
    rows = chance.choice([1, 1, 1, 1, 1, 2, 3, 3, 7, 8, 9, 17])
    name = chance.choice(["small", "small", "types", "lookup"])
    pair = [tensor(chance, "x", "FP32", rows, 4), tensor(chance, "i", "INT64", rows, 2)]
    ids = {
        "name": "ids",
        "datatype": "INT64",
        "shape": [rows],
        "data": [chance.choice([0, 1, 2, 2, 1, 0, 2, 1, 2, 7]) for _ in range(rows)],
    }
    types = [tensor(chance, kind.lower(), kind, rows, 3) for kind in TYPES]
    tensors: list[Tensor] = {"small": pair, "types": types, "lookup": [ids]}[name]
    request: dict[str, Any] = {"inputs": tensors}
    path, raw = f"/v2/models/{name}/infer", b""
    if name == "small" and chance.random() < 0.4:
        path = chance.choice(["/api/small", "/api/like/small"])
        request = own_body(chance, {item["name"]: _nested(item) for item in tensors})
    elif name == "types" or chance.random() < 0.25:
        raw = as_bytes(tensors)
        request["parameters"] = {"binary_data_output": True}
    elif chance.random() < 0.15:
        path = f"/v1/models/{name}:predict"
        columns = {each["name"]: _nested(each) for each in tensors}
        request = {"instances": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}
    elif chance.random() < 0.3:
        request |= chance.choice([{"id": 'a"1'}, {"outputs": []}, {"id": None}, {"parameters": {"timeout": 9_000_000}}])
    if "inputs" in request and chance.random() < 0.15:
        request, raw = spoilt(chance, request), raw[: chance.choice([None, -1])]
    head = json.dumps(request).encode()
    if chance.random() < 0.05:
        head = chance.choice([b"{", b"", b"[]", b"null", head[:-1], head.replace(b"1", b"1e39"), b"\xff" + head])
    path = chance.choice([path] * 12 + [path + "/", "/api/small" + path, "/nowhere", path.replace("m", "%6d"), path + "?a=b"])
    lines = [b"Content-Type: application/json"]
    if raw:
        lines = [b"Content-Type: application/octet-stream", b"Inference-Header-Content-Length: %d" % len(head)]
    return path, head + raw, lines


def own_body(chance: random.Random, data: dict[str, list[Any]]) -> dict[str, Any]:
    """Return a body of the service's own route. It is good in most cases."""
    wrong: dict[str, Any] = chance.choice(
        [
            {"data": None},
            {"data": data["x"]},
            {"data": {"x": data["x"]}},
            {"data": data | {"more": [1]}},
            {"data": data | {"x": data["i"]}},
            {"data": data | {"i": [[0.5, True]]}},
            {"image": "?!"},
            {"postid": [1]},
        ]
    )
    more: dict[str, Any] = {"postid": 7, "uid": "\u00e9", "seqid": "", "image": "aGk=", "other": {"a": None}}
    return (
        {"data": data}
        | dict(chance.sample(sorted(more.items()), chance.randint(0, 2)))
        | (wrong if chance.random() < 0.15 else {})
    )


def _nested(item: Tensor) -> list[Any]:
    columns = item["shape"][1] if len(item["shape"]) > 1 else 0
    data = item["data"]
    return (
        data if not columns or isinstance(data[0], list) else [data[at : at + columns] for at in range(0, len(data), columns)]
    )


def spoilt(chance: random.Random, request: dict[str, Any]) -> dict[str, Any]:
    """Return a request with one thing that is wrong or unusual."""
    first = request["inputs"][0]
    change: Callable[[], object] = chance.choice(
        [
            lambda: first.update(datatype="FP32"),
            lambda: first.update(shape=[1.0, 4]),
            lambda: first.update(shape=[0, 4]),
            lambda: first.update(shape=[1, 5]),
            lambda: first.update(data=[True] * 4),
            lambda: first.update(data=["a"]),
            lambda: first.update(name="unknown"),
            lambda: request["inputs"].append(first),
            lambda: request["inputs"].pop(),
            lambda: request.update(outputs=[{"name": "y"}]),
            lambda: request.update(outputs=[{"name": "none"}]),
            lambda: request.update(id=1),
            lambda: request.update(parameters={"timeout": -1}),
            lambda: request.update(inputs={}),
        ]
    )
    change()
    return request


UNUSUAL = [
    b"X-Request-Id: given-1", b"x-request-id: given.2", b"x-request-id: bad id", b"x-request-id: ", b"x-request-id:none",
    b"x-request-id: " + b"a" * 129, b"x-request-id: a\r\nx-request-id: b", b"x-request-id: a\r\nX-Request-Id: b",
    b"x-request-id: a\r\n folded", b"x-request-id: a\nB: c", b"x-request-id: a\r\nB : c", b"x-request-id: a\r\n: c",
    b"traceparent: 00-%s-%s-01" % (b"0a" * 16, b"0b" * 8), b"traceparent: none", b"traceparent: 00-a\r\ntraceparent: 00-b",
    b"x-b3-traceid: 1a\r\nx-b3-spanid: 2b\r\nx-b3-sampled: 0", b"x-b3-spanid: 1\r\nx-b3-spanid: 2",
    b"X-Request-Timeout-Ms: 9000", b"X-Request-Timeout-Ms: none", b"x-envoy-expected-rq-timeout-ms: 15000",
    b"Content-Encoding: identity", b"Content-Encoding: gzip", b"Connection: close", b"Connection: keep-alive", b"Upgrade: h2c",
    b"Expect: other", b"Accept: */*", b"Content-Type: text/plain", b"Host: y", b"Cookie: a=b\r\nCookie: c=d",
    b"\r\n".join(b"a%d: b" % number for number in range(110)), b"\r\n".join(b"a%d: b" % number for number in range(130)),
    b"Transfer-Encoding: chunked", b"Content-Length: 1", b"a: " + b"b" * 5000, b"Inference-Header-Content-Length: 99999",
]  # fmt: skip


def request_of(chance: random.Random) -> bytes:
    path, body, lines = body_of(chance)
    method, version = chance.choice([(b"POST", b"1.1")] * 30 + [(b"POST", b"1.0"), (b"PUT", b"1.1"), (b"post", b"1.1")])
    lines = [b"Host: x", b"Content-Length: %d" % len(body), *lines]
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2])):
        lines.insert(chance.randint(0, len(lines)), chance.choice(UNUSUAL))
    return b"\r\n".join([b"%s %s HTTP/%s" % (method, path.encode(), version), *lines, b"", body])


def answer_of(client: socket.socket) -> bytes:
    """Return the next answer of a connection, without what differs from run to run; b"" where the connection has ended."""
    found = b""
    while b"\r\n\r\n" not in found:
        piece = client.recv(65536)
        if not piece:
            return found
        found += piece
    length = re.search(rb"Content-Length: (\d+)", found)
    while length and len(found.partition(b"\r\n\r\n")[2]) < int(length[1]):
        found += client.recv(65536)
    return re.sub(rb"Date: [^\r]+|[0-9a-f]{32}", b"", found)


def answers_of(port: int, requests: list[bytes]) -> list[bytes]:
    """Return what a service answers to each request; b"" where the connection has ended before. AT_ONCE are sent together."""
    found: list[bytes] = []
    with contextlib.ExitStack() as stack:
        for at in range(0, len(requests), AT_ONCE):
            if at % (3 * AT_ONCE) == 0:
                clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(AT_ONCE)]
            group = list(zip(clients, requests[at : at + AT_ONCE], strict=False))
            for client, request in group:
                with contextlib.suppress(OSError):
                    client.sendall(request)
            for client, _ in group:
                try:
                    found.append(answer_of(client))
                except ConnectionError:
                    found.append(b"")
    return found


def counted(served: ServedHere) -> dict[str, Any]:
    """Return what was counted and logged, without times."""
    until(served.context.gate.empty)
    found = served.context.metrics.read()
    kept: dict[str, Any] = {"requests": dict(found[METRICS["monopod_requests_total"]])}
    for name in ("monopod_request_size_bytes", "monopod_response_size_bytes"):
        kept[name] = {labels: (value.counts, value.sum) for labels, value in found[METRICS[name]] if not isinstance(value, int)}
    stages = found[METRICS["monopod_stage_duration_seconds"]]
    kept["stages"] = {labels: value.counts[-1] for labels, value in stages if not isinstance(value, int)}
    lines = [(*line[1:3], re.sub("[0-9a-f]{32}", "", line[3]), *line[4:6], *line[7:]) for line in served.access._lines]
    kept["lines"] = Counter(lines)
    kept["held"] = served.data.rules.bodies.held
    return kept


def lane_of(served: ServedHere) -> Lane:
    found: Lane = served.data.rules.lane.__self__  # type: ignore[attr-defined]
    return found


def test_both_paths_answer_count_and_log_alike(served: ServedHere, general: ServedHere) -> None:
    chance = random.Random(SEED)
    requests = [request_of(chance) for _ in range(COUNT)]
    lane, taken = lane_of(served), []
    note = lane._note
    lane._note = lambda cycles, *more: taken.extend(cycles) or note(cycles, *more)  # type: ignore[method-assign, func-returns-value]
    found, wanted = (answers_of(one.data.number, requests) for one in (served, general))
    for request, one, other in zip(requests, found, wanted, strict=True):
        assert one == other, request
    assert counted(served) == counted(general)
    labels = Counter(cycle.route for cycle in taken)
    assert labels.total() > COUNT / 4
    assert labels["service"] > COUNT / 30, labels
    assert Counter(each[9:12] for each in found).keys() >= {b"200", b"400", b"404", b"413", b"415"}


def post(path: str = "/v2/models/small/infer", rows: int = 1, *lines: str) -> bytes:
    """Return a good request. lines: of its head."""
    x = {"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": [0.5] * 4 * rows}
    i = {"name": "i", "datatype": "INT64", "shape": [rows, 2], "data": [3] * 2 * rows}
    body = json.dumps({"inputs": [x, i]}).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *lines,
        "\r\n",
    ]
    return "\r\n".join(head).encode() + body


def before_batches(served: ServedHere, happen: Callable[[], object]) -> None:
    """Have something happen between the reading of the next requests and their batch."""
    lane = lane_of(served)
    run = lane._run

    def held(model: Any) -> None:
        lane._run = run  # type: ignore[method-assign]
        happen()
        run(model)

    lane._run = held  # type: ignore[method-assign]


def test_the_service_of_the_attacks_has_its_requests_in_the_lane(tmp_path: Path) -> None:
    with served_here(echo_service.folder_of(tmp_path / "small", lane=True)) as served, Client(served.data.number) as client:
        runs: list[int] = []
        (model,) = served.context.models.loaded()
        run = model.run_on_loop
        model.run_on_loop = lambda inputs, count: runs.append(count) or run(inputs, count)  # type: ignore[method-assign, func-returns-value]
        for number in range(3):
            echo_service.ask_on(client, number)
    assert runs == [1, 1, 1]


def nothing_is_left(served: ServedHere) -> bool:
    model = served.context.models.loaded()[0]
    return served.context.gate.empty() and not served.data.rules.bodies.held and not model.batcher.rows_on_loop


def errors(served: ServedHere) -> dict[tuple[str, ...], Any]:
    """Return the codes and reasons of the routes' requests that were counted."""
    found = served.context.metrics.read()[METRICS["monopod_requests_total"]]
    return {labels: count for labels, count in found if count and labels[0] == "infer"}


class Engine:
    """A session that takes processor time, or fails, before it answers."""

    def __init__(self, engine: Any, seconds: float = 0.0, error: Exception | None = None):
        self._engine, self._seconds, self._error = engine, seconds, error

    def run(self, arrays: Any) -> Any:
        end = time.thread_time() + self._seconds
        while time.thread_time() < end:
            pass
        if self._error is not None:
            raise self._error
        return self._engine.run(arrays)


def test_batches_that_stall_the_loop_go_back_to_their_thread_which_is_told_once(
    served: ServedHere, caplog: pytest.LogCaptureFixture
) -> None:
    model = served.context.models.loaded()[0]
    model.loop_engine = Engine(model.loop_engine, 0.002)  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        found = answers_of(served.data.number, [post()] * (8 * MAX_STALLS))
    assert {each[9:12] for each in found} == {b"200"}
    assert model.loop_engine is None
    assert [line.getMessage().split(":")[0] for line in caplog.records] == ["model small"]
    assert errors(served) == {("infer", "200", ""): 8 * MAX_STALLS}


def test_a_batch_that_fails_runs_once_more_on_its_thread(served: ServedHere) -> None:
    model = served.context.models.loaded()[0]
    model.loop_engine = Engine(None, error=RuntimeError("broken"))  # type: ignore[assignment]
    assert {each[9:12] for each in answers_of(served.data.number, [post()] * 5)} == {b"200"}
    model._engines = [Engine(None, error=RuntimeError("broken"))]  # type: ignore[list-item]
    until(lambda: nothing_is_left(served))


def test_a_failing_model_is_answered_as_on_the_general_path(served: ServedHere, general: ServedHere) -> None:
    for one in (served, general):
        for model in one.context.models.loaded():
            model._engines = [lambda arrays: 1 / 0]  # type: ignore[list-item, return-value]
    served.context.models.loaded()[0].loop_engine = Engine(None, error=RuntimeError("broken"))  # type: ignore[assignment]
    found, wanted = (answers_of(one.data.number, [post()] * 5) for one in (served, general))
    assert found == wanted
    assert found[0][9:12] == b"500"
    assert errors(served) == errors(general)
    until(lambda: nothing_is_left(served))


def test_a_client_that_goes_before_the_batch_counts_as_gone(served: ServedHere) -> None:
    def leave() -> None:
        for each in list(served.data.connections):
            each.connection_lost(None)

    before_batches(served, leave)
    with socket.create_connection(("127.0.0.1", served.data.number), 20) as client:
        client.sendall(post())
        until(lambda: errors(served) == {("infer", "499", "client_gone"): 1})
    until(lambda: nothing_is_left(served))


def test_a_deadline_that_passes_before_the_batch_is_told(served: ServedHere) -> None:
    before_batches(served, lambda: time.sleep(0.02))
    (found,) = answers_of(served.data.number, [post("/v2/models/small/infer", 1, "X-Request-Timeout-Ms: 10")])
    assert found[9:12] == b"504"
    assert b"no answer within 0.01 s" in found, found
    assert errors(served) == {("infer", "504", "short_deadline"): 1}
    until(lambda: nothing_is_left(served))


def test_an_answer_of_a_turn_in_which_the_drain_begins_ends_its_connection(served: ServedHere) -> None:
    gate = served.context.gate
    before_batches(served, gate.drain)
    (found,) = answers_of(served.data.number, [post()])
    assert found[9:12] == b"200"
    assert b"Connection: close\r\n" in found, found
    assert gate.state == DRAINING


def fail_once(served: ServedHere) -> None:
    """Have the next end of a request fail to be counted and logged."""
    requests = lane_of(served)._requests
    note = requests.note

    def fail(*_: Any) -> None:
        requests.note = note  # type: ignore[method-assign]
        raise RuntimeError("not counted")

    requests.note = fail  # type: ignore[method-assign, assignment]


def test_answers_that_cannot_be_counted_are_sent_and_so_are_those_of_other_batches(
    served: ServedHere, caplog: pytest.LogCaptureFixture
) -> None:
    fail_once(served)
    served.data._loop.call_soon_threadsafe(time.sleep, 0.05)  # meanwhile all of them come
    found = answers_of(served.data.number, [post(), post("/v2/models/small/versions/1/infer")] * (AT_ONCE // 2))
    assert [each[9:12] for each in found] == [b"200"] * AT_ONCE
    assert [str(line.exc_info[1]) for line in caplog.records if line.exc_info] == ["not counted"]
    until(lambda: nothing_is_left(served))


def test_a_refusal_that_cannot_be_counted_costs_no_other_request_its_answer(served: ServedHere) -> None:
    def close() -> None:
        served.context.models.loaded()[0].close(20)
        fail_once(served)

    before_batches(served, close)
    served.data._loop.call_soon_threadsafe(time.sleep, 0.05)  # meanwhile all of them come
    first, *others = answers_of(served.data.number, [post()] * AT_ONCE)
    assert first == b"", "its connection is ended"
    assert [each[9:12] for each in others] == [b"503"] * (AT_ONCE - 1)
    until(lambda: nothing_is_left(served))


def test_a_model_that_is_unloaded_before_the_batch_is_loaded_again(served: ServedHere) -> None:
    models = served.context.models
    before_batches(served, lambda: models.unload("small"))
    found = answers_of(served.data.number, [post()] * 6)
    assert {each[9:12] for each in found} == {b"200"}
    assert {model.spec.name for model in models.loaded()} >= {"small"}
    until(lambda: nothing_is_left(served))


def test_no_batch_of_a_turn_is_larger_than_the_largest(served: ServedHere) -> None:
    model = served.context.models.loaded()[0]
    sizes: list[int] = []
    run = model.run_on_loop
    model.run_on_loop = lambda inputs, count: sizes.append(count) or run(inputs, count)  # type: ignore[method-assign, func-returns-value]
    served.data._loop.call_soon_threadsafe(time.sleep, 0.05)  # meanwhile all of them come
    answers_of(served.data.number, [post(rows=3)] * 8)
    assert sum(sizes) == 24
    assert max(sizes) <= MAX_BATCH, sizes


def test_the_loop_goes_on_between_the_batches_of_rows_that_came_together(served: ServedHere) -> None:
    model, loop, seen = served.context.models.loaded()[0], served.data._loop, list[str]()
    run = model.run_on_loop

    def note(inputs: Any, count: int) -> Any:
        seen.append("batch")
        loop.call_soon(seen.append, "turn")
        return run(inputs, count)

    model.run_on_loop = note  # type: ignore[method-assign]
    loop.call_soon_threadsafe(time.sleep, 0.05)  # meanwhile all of them come
    answers_of(served.data.number, [post(rows=2)] * 8)
    until(lambda: seen == ["batch", "turn"] * (len(seen) // 2))  # the last turn may end after its answers
    assert len(seen) >= 4


def test_a_client_that_sends_two_requests_at_once_gets_both_answers_in_order(served: ServedHere) -> None:
    with socket.create_connection(("127.0.0.1", served.data.number), 20) as client:
        client.sendall(
            post("/v2/models/small/infer", 1, "X-Request-Id: a") + post("/v2/models/small/infer", 1, "X-Request-Id: b")
        )
        found = answer_of(client)
        found += answer_of(client) if b"X-Request-Id: b" not in found else b""
    assert found.index(b"X-Request-Id: a") < found.index(b"X-Request-Id: b")


@pytest.mark.parametrize(
    "line", [b"x-request-id: a\r\nx-request-id: b", b"traceparent: a\r\ntraceparent: b c", b"x-request-id: a\r\n b: c"]
)
def test_a_head_whose_ids_are_repeated_or_folded_is_left_to_the_general_path(line: bytes) -> None:
    head = (
        b"POST /v2/models/small/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1\r\n%b\r\n\r\n"
    )
    assert read_head(head % b"A: b") is not None
    assert read_head(head % line) is None


def test_a_request_that_can_be_read_in_two_ways_is_refused_on_both_paths(served: ServedHere, general: ServedHere) -> None:
    for name, sent in BAD.items():
        request = sent.replace(b"/api/small", b"/v2/models/small/infer")
        (found,), (wanted,) = (answers_of(one.data.number, [request]) for one in (served, general))
        assert found == wanted, name
        assert found[9:12] == b"400", name


def test_a_head_never_begins_behind_a_line_that_a_mesh_makes(served: ServedHere, general: ServedHere) -> None:
    for first in (b"x-request-id: a", b"traceparent: a", b"\r\nx-request-id: a"):
        (found,), (wanted,) = (answers_of(one.data.number, [first + b"\r\n" + post()]) for one in (served, general))
        assert found == wanted
        assert found[9:12] == b"400"
