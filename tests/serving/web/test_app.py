"""The routes over sockets: the paths and forms of requests, and their answers."""

import base64
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from serving.base.errors import SHED, ServingError
from serving.web.app import ENDS
from tests.running import ROOT, Running, get, make_service, post_json, running

COFFEE = (ROOT / "examples/images/coffee.jpg").read_bytes()
PREFIXES = ["/api/demo", "/api/like/demo"]
JPEG = {"Content-Type": "image/jpeg"}
JSON = {"Content-Type": "application/json"}


def ask(
    service: Running, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (names in lower case) and body. Redirects are not followed."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def logged(service: Running, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the log's first line that matches, which may come a moment after its answer."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for line in service.lines():
            if matches(line):
                return line
        time.sleep(0.01)
    raise AssertionError("no such line in the log")


def form(*parts: tuple[str, bytes], boundary: str = "frontier") -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a form; a part whose name has a dot is a file."""
    body = b""
    for name, content in parts:
        field, _, end = name.partition(".")
        file = f'; filename="{name}"' if end else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def best(answer: tuple[int, bytes]) -> str:
    status, body = answer
    assert status == 200, body
    return str(json.loads(body)["results"][0]["label"])


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_picture_comes_as_bytes_form_or_base64(demo: Running, prefix: str) -> None:
    url = demo.url + prefix
    assert best(get(url, COFFEE, JPEG)) == "espresso"
    assert best(get(url, COFFEE, {"Content-Type": "application/octet-stream"})) == "espresso"
    assert best(get(url, *form(("image.jpg", COFFEE)))) == "espresso"
    assert best(get(url, *form(("photo.jpg", COFFEE), ("postid", b"7")))) == "espresso"
    text = base64.b64encode(COFFEE).decode()
    for image in (text, text.rstrip("="), f"data:image/jpeg;base64,{text}"):
        assert best(get(url, json.dumps({"image": image}).encode(), JSON)) == "espresso"
    assert best(get(url, *form(("image", text.encode())))) == "espresso"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_slash_after_the_name_is_no_other_route(demo: Running, prefix: str) -> None:
    assert best(get(demo.url + prefix + "/", COFFEE, JPEG)) == "espresso"


def test_ids_are_echoed_as_they_came(demo: Running) -> None:
    image = base64.b64encode(COFFEE).decode()
    _, answer = post_json(demo.url + "/api/demo", {"image": image, "postid": "p-1", "uid": 2**64 - 1, "seqid": -3, "more": 1})
    assert {name: answer[name] for name in ("postid", "uid", "seqid", "msg")} == {
        "postid": "p-1", "uid": 2**64 - 1, "seqid": -3, "msg": "",
    }  # fmt: skip
    assert "more" not in answer
    _, body = get(demo.url + "/api/demo", *form(("image.jpg", COFFEE), ("uid", b"42")))
    assert json.loads(body)["uid"] == "42"


def test_ids_in_the_url_are_echoed_too_since_a_files_bytes_hold_none(demo: Running) -> None:
    status, body = get(demo.url + "/api/demo?postid=p-1&uid=7&more=1", COFFEE, JPEG)
    answer = json.loads(body)
    assert (status, answer["postid"], answer["uid"]) == (200, "p-1", "7")
    assert not {"seqid", "more"} & set(answer)
    image = base64.b64encode(COFFEE).decode()
    _, told = post_json(demo.url + "/api/demo?postid=url&uid=7", {"image": image, "postid": "body"})
    assert (told["postid"], told["uid"]) == ("body", "7")


@pytest.mark.parametrize("prefix", ["", *PREFIXES])
def test_everything_answers_under_every_prefix(demo: Running, prefix: str) -> None:
    for path in ("/", "/status", "/health", "/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/demo"):
        assert get(demo.url + prefix + path)[0] == 200, path
    assert json.loads(get(demo.url + prefix + "/v2/models/demo/versions/1/ready")[1]) == {"name": "demo", "ready": True}
    told = json.loads(get(demo.url + prefix + "/v1/models/demo")[1])
    assert (told["name"], told["ready"], told["model_version_status"][0]["state"]) == ("demo", True, "AVAILABLE")
    assert post_json(demo.url + prefix + "/v1/models/demo:predict", {"instances": []})[0] == 400
    assert get(demo.url + "/api/ping") == (200, b'{"ping":"pong"}')


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_page_is_reached_by_a_redirect_that_holds_behind_a_gateway(demo: Running, prefix: str) -> None:
    status, headers, _ = ask(demo, "GET", prefix)
    assert (status, headers["location"]) == (307, "demo/")
    status, body = get(demo.url + prefix)
    assert status == 200
    assert b"<html" in body


def test_the_page_may_not_be_framed_and_is_taken_for_nothing_else(demo: Running) -> None:
    headers = ask(demo, "GET", "/api/demo/")[1]
    assert "frame-ancestors 'none'" in headers["content-security-policy"].split("; ")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/api/like//demo", "/api//demo/v2", "/v2//health/live"])
def test_no_answer_leads_to_a_host_that_the_client_names(demo: Running, path: str) -> None:
    status, headers, body = ask(demo, "GET", path, headers={"Host": "evil.example"})
    assert status == 404
    assert not any("evil.example" in value for value in headers.values())
    assert b"evil.example" not in body


@pytest.mark.parametrize(
    ("path", "method", "status", "words"),
    [
        ("/v2/models/demo/config", "GET", 404, "there is no /v2/models/demo/config here;"),
        ("/" + "x" * 4000, "GET", 404, f"there is no /{'x' * 199} here;"),
        ("/v2", "POST", 405, "/v2 takes GET, HEAD, OPTIONS, not POST;"),
    ],
)
def test_a_path_that_is_not_there_is_told_in_one_sentence(
    demo: Running, path: str, method: str, status: int, words: str
) -> None:
    found, _, body = ask(demo, method, path)
    error = json.loads(body)["error"]
    assert (found, error.startswith(words), error.endswith("; /openapi.json lists the routes")) == (status, True, True)


def test_health_tells_state_memory_cores_and_queue(digits: Running) -> None:
    status, body = get(digits.url + "/api/small/health")
    told = json.loads(body)
    assert (status, told["ready"], told["state"]) == (200, True, "ready")
    assert 2**24 < told["memory_bytes"] < told["memory_limit_bytes"]
    assert told["cpu_cores"] >= 0 < told["cpu_cores_asked"]
    assert (told["queue_rows"], told["oldest_seconds"]) == (0, 0.0)
    schema = json.loads(get(digits.url + "/openapi.json")[1])["paths"]["/health"]["get"]["responses"]["200"]["content"]
    assert set(schema["application/json"]["schema"]["required"]) == set(told)


def test_a_request_id_is_echoed_or_made(demo: Running) -> None:
    assert ask(demo, "GET", "/status", headers={"X-Request-Id": "abc-1.2:3/4=+_"})[1]["x-request-id"] == "abc-1.2:3/4=+_"
    made = {ask(demo, "GET", "/status")[1]["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    for wrong in ("two words", "x" * 129, 'a"b', "é"):
        assert re.fullmatch(r"[0-9a-f]{32}", ask(demo, "GET", "/status", headers={"X-Request-Id": wrong})[1]["x-request-id"])


HEADS = ["/", "/status", "/openapi.json", "/api/demo", "/v2/models/demo", "/nowhere", "/api/ping"]


@pytest.mark.parametrize("path", HEADS)
def test_head_is_get_without_the_body_and_the_connection_stays_good(demo: Running, path: str) -> None:
    status, headers, _ = ask(demo, "GET", path)
    with socket.create_connection(("127.0.0.1", demo.port), timeout=10) as s:
        s.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\nGET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        first, second = s.makefile("rb").read().split(b"\r\n\r\n", 1)
    assert int(first.split()[1]) == status
    assert f"\r\nContent-Length: {headers['content-length']}\r\n" in first.decode() + "\r\n"
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_trace_of_the_mesh_is_in_the_log(demo: Running) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    ask(demo, "GET", "/status", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-Id": "traced"})
    ask(demo, "GET", "/status", headers={"traceparent": "what-ever-it-is", "X-Request-Id": "untraced"})
    line = logged(demo, lambda line: line.get("request_id") == "traced")
    assert (line["trace_id"], line["route"], line["code"], line["service"]) == (trace, "status", 200, "demo")
    assert line["milliseconds"] >= 0
    assert "trace_id" not in logged(demo, lambda line: line.get("request_id") == "untraced")


@pytest.mark.parametrize("route", ["service", "infer", "infer_v", "predict"])
@pytest.mark.parametrize("end", ENDS)
def test_every_end_of_a_request_is_counted_from_the_start(untouched: str, route: str, end: tuple[int, str]) -> None:
    """A series that begins with its first event shows no increase, so that rate() is 0 through the first outage."""
    code, reason = end
    assert f'monopod_requests_total{{code="{code}",reason="{reason}",route="{route}"}} 0\n' in untouched


@pytest.mark.parametrize("kind", SHED)
def test_every_reason_to_refuse_is_counted_from_the_start(untouched: str, kind: type[ServingError]) -> None:
    assert f'monopod_shed_total{{reason="{kind.reason}"}} 0\n' in untouched
    line = f'monopod_requests_total{{code="{kind.status}",reason="{kind.reason}",route="refused"}} 0\n'
    assert line in untouched


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The metrics of a service that has had no request."""
    folder = tmp_path_factory.mktemp("untouched") / "small"
    with running(make_service(folder, 'model_path = "model/digits.onnx"', "", ("tests/models/digits.onnx",))) as service:
        yield service.metrics()


def test_requests_are_counted_by_route_code_and_reason(digits: Running) -> None:
    def count(route: str, code: int, reason: str) -> float:
        pattern = rf'monopod_requests_total{{code="{code}",reason="{reason}",route="{route}"}} (\S+)'
        found = re.search(pattern, digits.metrics())
        return float(found[1]) if found else 0

    asked = [("/api/small", "service", 400, "bad_input"), ("/nowhere", "none", 404, "not_found")]
    asked += [("/v2/models/small/infer", "infer", 400, "bad_input"), ("/v2/models/x/infer", "infer", 404, "not_found")]
    for path, route, code, reason in asked:
        before = count(route, code, reason)
        post_json(digits.url + path, {})
        assert count(route, code, reason) == before + 1


def test_status_tells_of_queue_counts_and_models(demo: Running) -> None:
    get(demo.url + "/v2")
    status = json.loads(get(demo.url + "/api/demo/status")[1])
    assert {
        "service": "demo",
        "username": "like",
        "ready": True,
        "state": "ready",
        "models": ["demo"],
    }.items() <= status.items()
    assert status["queue"] == {"rows": 0, "oldest_seconds": 0.0, "limit": 64}
    assert status["in_progress"] == 0  # this GET does not count
    assert status["requests"]["200"] > 0


def test_a_model_without_code_answers_data_v2_and_v1(digits: Running) -> None:
    rows = [[[[i % 7 / 7] * 8] * 8] for i in range(3)]
    wrapped = [[[row[0][0]] * 8] for row in rows]
    status, answer = post_json(digits.url + "/api/small", {"data": wrapped, "postid": 5})
    assert (status, answer["msg"], answer["postid"]) == (200, "", 5)
    logits = answer["results"]["logits"]
    assert [len(row) for row in logits] == [10, 10, 10]
    assert post_json(digits.url + "/api/small", {"data": {"images": wrapped}})[1]["results"]["logits"] == logits
    tensor = {"name": "images", "datatype": "FP32", "shape": [3, 1, 8, 8], "data": wrapped}
    _, answer = post_json(digits.url + "/v2/models/small/infer", {"inputs": [tensor]})
    assert answer["outputs"][0]["data"] == pytest.approx(sum(logits, []), rel=1e-5)
    _, answer = post_json(digits.url + "/v1/models/small:predict", {"instances": wrapped})
    assert sum(answer["predictions"], []) == pytest.approx(sum(logits, []), rel=1e-5)


def test_a_pod_tells_its_version_and_its_image() -> None:
    """The digest tells a tag that was pushed again from the image that it named before."""
    digest = "sha256:" + "0a" * 32
    with running(ROOT / "bench/digits", {"MONOPOD_VERSION": "v2", "MONOPOD_DIGEST": digest}) as service:
        said = json.loads(get(f"{service.url}/api/bench/digits/v2")[1])
    assert (said["version"], said["digest"]) == ("v2", digest)
