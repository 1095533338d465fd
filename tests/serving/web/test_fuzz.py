"""5,000 random requests: each gets an answer below 500, and the service works on."""

import contextlib
import json
import select
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tritonclient.http import InferenceServerClient, InferInput

from serving.base.process import resident_bytes
from serving.inputs.tensor_codec import write_raw
from serving.models.tensors import DATATYPES
from tests.running import ROOT, Running, get
from tests.serving.echo_service import Answer, Client

BINARY_CALLS = 4_000
MOMENT = 0.05  # seconds; a service that waits for no more bytes answers within them
MALFORMED = 400
BY_DOCUMENT = 300  # requests to each service
GROWTH = 64 * 2**20  # bytes by which a process' memory may grow
QUICK = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)


class KeptConnection:
    """A connection to a service, opened anew where the service ends it. sent: the number of requests sent."""

    def __init__(self, service: Running):
        self._port, self.sent = service.port, 0
        self._client: Client | None = None

    def ask(self, data: bytes) -> Answer:
        """Send one request and return its answer."""
        answer = self._send(data).answer()
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def send_malformed(self, data: bytes) -> list[Answer]:
        """Send bytes that are not a single request, say that no more will come, and return all answers."""
        client = self._send(data)
        select.select([client.socket], [], [], MOMENT)
        with contextlib.suppress(OSError):  # the server closed first
            client.half_close()
        answers = client.rest()
        self.close()
        return answers

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _send(self, data: bytes) -> Client:
        self.sent += 1
        self._client = self._client or Client(self._port)
        self._client.send(data)
        return self._client


def answered(service: Running) -> int:
    """Return how many requests the service says it has answered."""
    return sum(json.loads(get(service.url + "/status")[1])["requests"].values())


# A good request of the binary protocol, then the mutations of it.

MODELS: dict[str, dict[str, np.ndarray[Any, Any]]] = {
    "add": {name: np.arange(8, dtype=np.float32).reshape(2, 4) for name in "ab"},
    "capitals": {"texts": np.array([[b"a", b"", "é".encode()]], object)},
    "tensors": {
        f"{name.lower()}_in": np.array([[b"0", b"", b"xyz"]], object) if name == "BYTES" else np.array([[0, 1, 1]], dtype)
        for name, dtype in DATATYPES.items()
    },
}
KINDS = st.sampled_from(
    ["application/octet-stream"] * 6
    + ["application/json", "text/plain", "multipart/form-data; boundary=b", "image/png", "", 'a/b; c="', "\xff/x"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
JSONS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6
)
WORDS = st.sampled_from(
    [*DATATYPES, "name", "shape", "datatype", "data", "parameters", "binary_data_size", "binary_data", "a", "b", "sum", "texts"]
)
SIZES = st.sampled_from([0, 1, -1, 2, 3, 4, 8, 31, 32, 33, 65, 2**31, 2**40, 2**63, 2**64])


def whole(model: str) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the raw bytes of a good call."""
    inputs = []
    raw = b""
    for name, array in MODELS[model].items():
        part = bytes(write_raw(array))
        datatype = "BYTES" if array.dtype == object else next(n for n, d in DATATYPES.items() if d == array.dtype)
        inputs.append({
            "name": name, "shape": list(array.shape), "datatype": datatype, "parameters": {"binary_data_size": len(part)},
        })  # fmt: skip
        raw += part
    return {"inputs": inputs, "parameters": {"binary_data_output": True}}, raw


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every value within a JSON value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


def spoil(draw: st.DrawFn, call: dict[str, Any]) -> None:
    """Change, remove, rename or double one value of a call, where any is left."""
    if not call:
        return
    *way, last = draw(st.sampled_from(sorted(places(call), key=repr)))
    owner: Any = call
    for step in way:
        owner = owner[step]
    deed = draw(st.sampled_from(["size", "size", "value", "remove", "rename", "double"]))
    if deed == "remove":
        del owner[last]
    elif deed == "double" and isinstance(owner, list):
        owner.append(owner[last])
    elif deed == "rename" and isinstance(owner, dict):
        owner[draw(WORDS)] = owner.pop(last)
    else:
        owner[last] = draw(SIZES if deed == "size" else JSONS | WORDS)


def cut(draw: st.DrawFn, data: bytes) -> bytes:
    """Take bytes out, put others in, or change some."""
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.binary(max_size=8)) + data[at + draw(st.integers(0, 8)) :]


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, str], bytes]:
    """Draw a path, headers and a body: a good call after up to three mutations."""
    model = draw(st.sampled_from(sorted(MODELS)))
    call, raw = whole(model)
    deeds = draw(st.lists(st.sampled_from(["json", "json", "raw", "length", "kind", "head", "grow"]), max_size=3))
    for _ in range(deeds.count("json")):
        spoil(draw, call)
    if "raw" in deeds:
        raw = cut(draw, raw)
    head = json.dumps(call).encode("utf-8", "surrogatepass")
    head = cut(draw, head) if "head" in deeds else head
    length = str(len(head))
    if "length" in deeds:
        length = draw(st.sampled_from([str(len(head) + n) for n in (-1, 1, 8, 9999)] + ["", "0", "-5", "1e3", "²", "9" * 30]))
    kind = draw(KINDS) if "kind" in deeds else "application/octet-stream"
    body = head + raw + (b"\0" * draw(st.sampled_from([1, 4, 300_000])) if "grow" in deeds else b"")
    prefix = draw(st.sampled_from(["", "/api/tensors", "/api/like/tensors"]))
    path = prefix + draw(st.sampled_from([f"/v2/models/{model}/infer", f"/v2/models/{model}/versions/1/infer"]))
    if draw(st.integers(0, 19)) == 0:
        path = draw(st.sampled_from([f"/v1/models/{model}:predict", "/api/tensors", "/v2/models/none/infer", "/v2"]))
    return path, {"Content-Type": kind, "Inference-Header-Content-Length": length}, body


def request_of(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1", "replace") + f"\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def check_answer(answer: Answer, about: object) -> None:
    """Check that an answer is below 500, that a refusal is JSON with its cause, and that a binary 200 can be parsed."""
    assert answer.status < 500, (answer, about)
    if answer.status >= 400:
        refusal = json.loads(answer.body)
        assert {"error", "msg", "reason", "request_id"} == set(refusal), (answer, about)
        assert refusal["error"]
        assert len(refusal["error"]) < 2000
    elif "inference-header-content-length" in answer.headers:
        InferenceServerClient.parse_response_body(
            answer.body, header_length=int(answer.headers["inference-header-content-length"])
        )


def good_call(service: Running) -> None:
    """Check that a good request gets the right answer."""
    client = InferenceServerClient(f"127.0.0.1:{service.port}")
    inputs = [InferInput(name, [2, 4], "FP32").set_data_from_numpy(array) for name, array in MODELS["add"].items()]
    assert client.infer("add", inputs).as_numpy("sum").ravel().tolist() == [2.0 * i for i in range(8)]
    client.close()


def test_mutated_calls_of_the_binary_protocol_are_answered_below_500(tensors: Running) -> None:
    connection, codes = KeptConnection(tensors), Counter[int]()
    good_call(tensors)
    before, counted = resident_bytes(tensors.process.pid), answered(tensors)

    @settings(QUICK, max_examples=BINARY_CALLS)
    @given(calls())
    def each(call: tuple[str, dict[str, str], bytes]) -> None:
        answer = connection.ask(request_of(*call))
        codes[answer.status] += 1
        check_answer(answer, call)

    each()
    connection.close()
    assert connection.sent >= BINARY_CALLS
    assert answered(tensors) - counted >= connection.sent
    assert {200, 400, 404, 405, 413, 415} <= set(codes)
    assert codes[200] > BINARY_CALLS / 20  # not everything is refused before it is decoded
    assert tensors.process.poll() is None
    good_call(tensors)
    assert resident_bytes(tensors.process.pid) - before < GROWTH


@st.composite
def malformed(draw: st.DrawFn) -> bytes:
    """Draw bytes whose framing is not what it says: wrong lengths, wrong chunks, broken heads."""
    good = request_of(*draw(calls()))
    head, _, body = good.partition(b"\r\n\r\n")
    deed = draw(st.sampled_from(["length", "chunked", "chunks", "head", "short", "twice", "noise"]))
    if deed == "length":
        length = draw(st.sampled_from([0, 1, len(body) - 1, len(body) + 1, len(body) * 2, 10**9, 10**30, -1]))
        return head[: head.rindex(b": ")] + f": {length}\r\n\r\n".encode() + body
    if deed in ("chunked", "chunks"):
        head = head[: head.rindex(b"\r\n")] + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        sizes = [f"{len(body):x}", "ffffffff", "-1", "zz", "5;x=y", ""] if deed == "chunks" else [f"{len(body):x}"]
        return (
            head
            + draw(st.sampled_from(sizes)).encode()
            + b"\r\n"
            + body
            + draw(st.sampled_from([b"\r\n0\r\n\r\n", b"\r\n", b""]))
        )
    if deed == "twice":
        return head + b"\r\nContent-Length: 3\r\n\r\n" + body
    if deed == "short":
        return good[: draw(st.integers(1, len(good) - 1))]
    return cut(draw, head) + b"\r\n\r\n" + body if deed == "head" else draw(st.binary(min_size=1, max_size=64)) + b"\r\n\r\n"


def test_wrong_lengths_and_broken_heads_hang_nothing(tensors: Running) -> None:
    connection, told = KeptConnection(tensors), list[bool]()
    good_call(tensors)
    before = resident_bytes(tensors.process.pid)

    @settings(QUICK, max_examples=MALFORMED)
    @given(malformed())
    def each(data: bytes) -> None:
        answers = connection.send_malformed(data)
        for answer in answers:
            check_answer(answer, data)
        told.append(bool(answers))

    each()
    assert connection.sent >= MALFORMED
    assert sum(told) > MALFORMED / 2  # the server waited for more bytes of the rest
    assert json.loads(get(tensors.url + "/status")[1])["queue"]["rows"] == 0
    assert len(psutil.Process(tensors.process.pid).net_connections()) < 20
    good_call(tensors)
    assert resident_bytes(tensors.process.pid) - before < GROWTH


def without_haste(case: Any) -> Any:
    """Remove the fields that ask for an earlier answer than the server can give, since a 504 would be right."""
    for name in [name for name in case.headers or {} if name.lower() == "x-request-timeout-ms"]:
        del case.headers[name]
    parameters = case.body.get("parameters") if isinstance(case.body, dict) else None
    if isinstance(parameters, dict):
        parameters.pop("timeout", None)
    return case


def by_document(service: Running, path: str, base: str) -> Counter[int]:
    """Send requests that the document at a path allows and forbids, and return how often each status came."""
    schema = schemathesis.openapi.from_url(service.url + path)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 10
    cases = st.sampled_from(operations).flatmap(
        lambda one: st.one_of(*(one.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode))
    )
    codes = Counter[int]()
    with requests.Session() as session:

        @settings(QUICK, max_examples=BY_DOCUMENT)
        @given(cases)
        def each(case: Any) -> None:
            response = without_haste(case).call(base_url=service.url + base, session=session, timeout=20)
            codes[response.status_code] += 1
            assert response.status_code < 500
            # A body may be valid by the document although its bytes are no picture.
            case.validate_response(response, excluded_checks=[positive_data_acceptance])

        each()
    return codes


def test_requests_that_the_document_allows_or_forbids_are_answered_as_it_says(demo: Running) -> None:
    before, counted = resident_bytes(demo.process.pid), answered(demo)
    codes = by_document(demo, "/openapi.json", "")
    assert codes.total() >= BY_DOCUMENT
    assert answered(demo) - counted >= BY_DOCUMENT * 0.9  # pings are not counted
    picture = (ROOT / "examples/images/coffee.jpg").read_bytes()
    status, body = get(demo.url + "/api/demo", picture, {"Content-Type": "image/jpeg"})
    assert (status, json.loads(body)["results"][0]["label"]) == (200, "espresso")
    assert resident_bytes(demo.process.pid) - before < GROWTH


def test_a_gateways_prefix_and_tensors_are_answered_as_the_document_says(tensors: Running) -> None:
    before = resident_bytes(tensors.process.pid)
    codes = by_document(tensors, "/api/tensors/openapi.json", "/api")
    assert codes.total() >= BY_DOCUMENT
    assert codes[200] > BY_DOCUMENT / 5  # the paths exist
    good_call(tensors)
    assert resident_bytes(tensors.process.pid) - before < GROWTH


def test_the_fuzz_sends_5000_requests_most_of_them_binary() -> None:
    assert BINARY_CALLS + MALFORMED + 2 * BY_DOCUMENT >= 5_000
    assert BINARY_CALLS > 4 * BY_DOCUMENT
