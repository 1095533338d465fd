"""A Flask application and a WSGI callable in src/server.py are served as they are, within the platform's bounds."""

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.core.messages import MAX_WAITING
from tests.running import DIGITS, ROOT, Running, get, launch, make_service, post_form, post_json, running
from tests.serving.web.test_app import JSON, ask, logged
from tests.waiting import until

FLASK = """
import threading
import time
from pathlib import Path

import numpy as np
from flask import Flask, Response, current_app, jsonify, request, stream_with_context, url_for

app = Flask(__name__)
running, most, sent = 0, 0, 0
lock = threading.Lock()
FOLDER = Path(__file__).parents[1]
app.run()  # as where a guard was forgotten; it must return


@app.before_request
def check():
    if request.headers.get("X-Refuse"):
        return "refused by before_request", 403


@app.errorhandler(404)
def missing(error):
    return jsonify(missing=request.path), 404


@app.route("/api/ping")
def ping():
    found = FOLDER / "ping"
    while found.exists() and found.read_text() == "hang":
        time.sleep(0.01)
    if found.exists():
        raise KeyError("secret detail")
    return "pong of the application"


@app.route("/api/small", methods=["GET", "POST"])
def answer():
    return jsonify(path=request.path, root=request.script_root, data=request.get_json(silent=True))


@app.route("/where/<int:number>")
def where(number):
    return jsonify(path=request.path, root=request.script_root, url=url_for("where", number=number))


@app.route("/folder/")
def folder():
    return "folder"


@app.route("/page", defaults={"number": 1})
@app.route("/page/<int:number>")
def page(number):
    return str(number)


@app.route("/status")
@app.route("/metrics")
def hidden():
    return "never"


@app.route("/upload", methods=["POST"])
def upload():
    file = request.files["image"]
    return jsonify(name=file.filename, bytes=len(file.read()), word=request.form["word"])


@app.route("/fail")
def fail():
    raise KeyError("secret detail")


@app.route("/wait", methods=["POST"])
def wait():
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    while not (FOLDER / "free").exists():
        time.sleep(0.01)
    with lock:
        running -= 1
    return str(most)


@app.route("/words")
def words():
    return Response((f"word {number}\\n" for number in range(3)), content_type="text/plain")


@app.route("/endless")
def endless():
    def parts():
        global sent
        try:
            while True:
                sent += 1
                yield b"x" * 2**14
        finally:
            (FOLDER / "closed").touch()

    return Response(stream_with_context(parts()), content_type="text/plain")


@app.route("/sent")
def count():
    return str(sent)


@app.route("/broken")
def broken():
    def parts():
        yield b"begun"
        raise KeyError("secret detail")

    return Response(parts(), content_type="text/plain")


@app.route("/digit", methods=["POST"])
def digit():
    monopod = current_app.monopod
    rows = np.array(request.get_json(), np.float32)
    outputs = monopod.models["small"]({"images": rows}, request.environ["monopod.request"])
    return jsonify(outputs=sorted(outputs), name=monopod.settings.service_name)
"""
WSGI = """
import time


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/fail", "/api/ping"):
        raise KeyError("secret detail")
    if path == "/silent":
        return [b"no start"]
    if path == "/exit":
        raise SystemExit(3)
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/write":
        write(b"written ")
        return (each for each in (b"and ", b"given"))
    body = environ["wsgi.input"].read()
    return [f"{environ['SCRIPT_NAME']}|{path}|{len(body)}|{environ['monopod'].settings.username}".encode()]
"""
SETTINGS = "cpu = 1\nqueue_limit = 4\nmax_body = '1Mi'\ntimeout_second = 2\nstuck_after_second = 1\n"


@pytest.fixture(scope="module")
def flask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A Flask application with a model of the platform's, one request at a time."""
    folder = tmp_path_factory.mktemp("flask") / "small"
    with running(make_service(folder, f"{SETTINGS}model_path = 'model/digits.onnx'", FLASK, (str(DIGITS),))) as one:
        yield one


@pytest.fixture(scope="module")
def wsgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(make_service(tmp_path_factory.mktemp("wsgi") / "small", SETTINGS, WSGI)) as one:
        yield one


def answers(service: Running, path: str) -> object:
    return json.loads(get(service.url + path)[1])


def counted(service: Running, route: str, code: int, reason: str = "") -> float:
    return service.metric(f'monopod_requests_total{{code="{code}",reason="{reason}",route="{route}"}}')


@pytest.mark.parametrize("path", ["/api/small", "/api/like/small", "/api/small/api/small"])
def test_the_applications_own_route_answers_under_every_prefix(flask: Running, path: str) -> None:
    status, found = post_json(flask.url + path, {"a": 1})
    root = path.removesuffix("/api/small") if path.count("small") > 1 else ""
    assert (status, found) == (200, {"path": "/api/small", "root": root, "data": {"a": 1}})
    assert get(flask.url + path)[0] == 200


def test_other_routes_answer_with_and_without_the_prefix_and_url_for_keeps_it(flask: Running) -> None:
    for prefix in ("", "/api/small", "/api/like/small"):
        found = answers(flask, f"{prefix}/where/7")
        assert found == {"path": "/where/7", "root": prefix, "url": f"{prefix}/where/7"}
    assert get(flask.url + "/api/like/small/folder") == (200, b"folder")
    assert counted(flask, "where/<int:number>", 200) == 3


def test_a_redirect_of_flasks_own_is_sent_as_it_is(flask: Running) -> None:
    assert get(flask.url + "/api/like/small/page/2") == (200, b"2")
    status, headers, _ = ask(flask, "GET", "/api/like/small/page/1")
    assert (status, headers["location"].endswith("/api/like/small/page")) == (308, True)
    assert counted(flask, "redirect", 308) == 1


def test_what_the_platform_serves_stays_the_platforms(flask: Running) -> None:
    assert answers(flask, "/api/ping") == {"ping": "pong"}
    for prefix in ("", "/api/small", "/api/like/small"):
        assert get(flask.url + prefix + "/status")[0] == 200
        paths = json.loads(get(flask.url + prefix + "/openapi.json")[1])["paths"]
        assert not {"/", "/health", "/api/small", "/api/like/small", "/small"} & set(paths)
        assert get(f"{flask.url}{prefix}/v2/models/small")[0] == 200
    assert get(flask.url + "/metrics")[0] == 404
    assert get(flask.url + "/v2", b"", method="POST")[0] == 405


def test_before_request_and_error_handlers_work_and_paths_without_a_rule_share_one_label(flask: Running) -> None:
    assert get(flask.url + "/where/1", headers={"X-Refuse": "1"}) == (403, b"refused by before_request")
    assert answers(flask, "/nowhere/at/all") == {"missing": "/nowhere/at/all"}
    assert counted(flask, "none", 404) >= 1
    assert "nowhere" not in flask.metrics()
    line = logged(flask, lambda line: "/nowhere/at/all" in json.dumps(line))
    assert line["route"] == "none"


def test_an_upload_reaches_the_application_within_the_platforms_bounds(flask: Running) -> None:
    picture = bytes(range(256)) * 2**10
    status, found = post_form(flask.url + "/upload", ("image", picture), ("word", "yes"))
    assert (status, found) == (200, {"name": "image", "bytes": len(picture), "word": "yes"})
    assert get(flask.url + "/upload", b"x" * (2**20 + 1))[0] == 413


def test_an_exception_is_a_500_without_details_that_the_log_tells(flask: Running) -> None:
    status, headers, body = ask(flask, "GET", "/fail", b"", {"X-Request-Id": "failing"})
    assert (status, headers["x-request-id"], b"secret" in body) == (500, "failing", False)
    logged(flask, lambda line: "secret detail" in json.dumps(line))
    assert counted(flask, "fail", 500, "service_failed") == 1


def test_a_model_of_the_platforms_is_reached_and_its_errors_keep_their_status(flask: Running) -> None:
    assert post_json(flask.url + "/digit", [[[[0.5] * 8] * 8]])[1]["name"] == "small"
    status, found = post_json(flask.url + "/digit", [[[[0.5] * 8] * 8]] * 100)
    assert (status, found["reason"]) == (413, "too_large")
    status, found = post_json(flask.url + "/digit", [0.5])
    assert (status, found["reason"], found["request_id"] in found["error"]) == (500, "service_failed", True)


def test_an_answer_without_a_length_is_streamed(flask: Running) -> None:
    _, headers, body = ask(flask, "GET", "/words", b"", {})
    assert headers["transfer-encoding"] == "chunked"
    assert b"word 0\n" in body
    assert get(flask.url + "/words") == (200, b"word 0\nword 1\nword 2\n")
    assert ask(flask, "HEAD", "/words")[::2] == (200, b"")
    assert int(ask(flask, "HEAD", "/api/small")[1]["content-length"]) == len(get(flask.url + "/api/small")[1])


def test_a_stream_stands_still_while_its_client_takes_nothing_and_is_closed_when_it_goes(flask: Running) -> None:
    with socket.create_connection(("127.0.0.1", flask.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    until(lambda: (flask_folder(flask) / "closed").exists())
    assert int(get(flask.url + "/sent")[1]) < 2**25 // MAX_WAITING


def flask_folder(service: Running) -> Path:
    args = service.process.args
    assert isinstance(args, list)
    return Path(str(args[args.index("--service") + 1]))


def test_a_stream_that_fails_is_cut_and_the_log_tells_why(flask: Running) -> None:
    with socket.create_connection(("127.0.0.1", flask.port)) as client:
        client.sendall(b"GET /broken HTTP/1.1\r\nHost: x\r\nX-Request-Id: cut\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert b"begun" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert b"secret" not in answer
    logged(flask, lambda line: line.get("request_id") == "cut" and "secret detail" in json.dumps(line))


@pytest.mark.parametrize("threads", [1, 2])
def test_so_many_requests_run_at_once_and_others_wait_are_refused_or_end_at_their_deadline(
    tmp_path: Path, threads: int
) -> None:
    folder = make_service(tmp_path / "small", SETTINGS + f"threads = {threads}", FLASK)
    with running(folder) as service, ThreadPoolExecutor(16) as pool:

        def send(count: int, seconds: float) -> list[Future[tuple[int, bytes]]]:
            headers = {**JSON, "X-Request-Timeout-Ms": str(int(seconds * 1000))}
            return [pool.submit(get, service.url + "/wait", b"{}", headers) for _ in range(count)]

        first = send(threads, 2)
        until(lambda: service.metric("monopod_requests_in_progress") == threads)
        until(lambda: service.metric('monopod_queue_rows{model="small"}') == 0)
        waiting = send(4, 1.5)
        until(lambda: service.metric('monopod_queue_rows{model="small"}') == 4)
        assert get(service.url + "/wait", b"{}", JSON)[0] == 429
        assert {each.result()[0] for each in first + waiting} == {504}
        assert get(service.url + "/status")[0] == 200
        until(lambda: get(service.admin + "/livez")[0] == 503)
        assert b"the service's own code" in get(service.admin + "/livez")[1]
        assert get(service.url + "/api/ping")[0] == 200  # its own ping waits for a turn
        (folder / "free").touch()
        until(lambda: get(service.admin + "/livez")[0] == 200)
        assert get(service.url + "/wait", b"{}", JSON) == (200, str(threads).encode())


def test_a_bare_callable_gets_its_paths_and_the_service(wsgi: Running) -> None:
    assert get(wsgi.url + "/any/path?x=1", b"abc") == (200, b"|/any/path|3|like")
    assert get(wsgi.url + "/api/small") == (200, b"|/api/small|0|like")
    assert get(wsgi.url + "/api/like/small/more") == (200, b"|/api/small/more|0|like")
    assert get(wsgi.url + "/write") == (200, b"written and given")
    assert counted(wsgi, "service", 200) == 1
    assert counted(wsgi, "application", 200) >= 3


@pytest.mark.parametrize("path", ["/fail", "/silent", "/exit"])
def test_a_callable_that_fails_is_a_500_with_an_id_and_no_details(wsgi: Running, path: str) -> None:
    status, found = post_json(wsgi.url + path, {})
    assert (status, found["reason"]) == (500, "service_failed")
    assert found["request_id"] in found["error"]
    assert "secret" not in found["error"]
    logged(wsgi, lambda line: line.get("request_id") == found["request_id"] and line["level"] == "error")
    assert get(wsgi.url + "/")[0] == 200


@pytest.mark.parametrize(("text", "words"), [("fail", "answers 500"), ("hang", "has not answered within 2 s")])
def test_the_applications_own_ping_makes_the_pod_unready_and_ready_again(flask: Running, text: str, words: str) -> None:
    ping = flask_folder(flask) / "ping"
    ping.write_text(text)
    until(lambda: words in get(flask.admin + "/readyz")[1].decode())
    status, found = get(flask.url + "/api/ping")
    assert (status, words in json.loads(found)["error"]) == (503, True)
    ping.unlink()
    until(lambda: get(flask.url + "/api/ping")[0] == 200)
    assert get(flask.url + "/words")[0] == 200


def test_a_pod_is_not_ready_before_the_applications_own_ping_has_answered(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", SETTINGS, FLASK)
    (folder / "ping").write_text("hang")
    service = launch(folder)
    try:
        until(lambda: "ready after" in service.log.read_text())
        until(lambda: b"own /api/ping has not answered" in get(service.admin + "/readyz")[1])
        (folder / "ping").unlink()
        service.wait_ready()
    finally:
        service.stop(signal.SIGKILL)


CAREFUL = """
from pathlib import Path

FOLDER = Path(__file__).parents[1]


def app(environ, start_response):
    with (FOLDER / "asked").open("a") as asked:
        asked.write("x")
    start_response("503 Busy" if (FOLDER / "busy").exists() else "200 OK", [])
    return [b""]
"""


def test_a_bare_callable_has_a_ping_once_it_has_answered_one(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", SETTINGS, CAREFUL)
    busy, asked = folder / "busy", folder / "asked"
    busy.touch()
    with running(folder) as service:
        until(lambda: asked.exists() and asked.stat().st_size > 1)
        assert get(service.url + "/api/ping")[0] == 200
        busy.unlink()
        seen = asked.stat().st_size
        until(lambda: asked.stat().st_size > seen + 1)
        busy.touch()
        until(lambda: b"answers 503" in get(service.url + "/api/ping")[1])
        assert get(service.admin + "/readyz")[0] == 503


HOSTILE = (ROOT / "tests/services/program/src/server.py").read_text()


def state_of(process: str) -> str:
    """Return the letter of a process's state, as in proc(5)."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]


def test_forks_end_where_they_would_come_back_and_threads_do_not_delay_the_end(tmp_path: Path) -> None:
    with running(make_service(tmp_path / "small", SETTINGS, HOSTILE)) as service:
        assert [get(service.url + "/fork") for _ in range(3)] == [(200, b"parent")] * 3
        assert get(service.url + "/threads") == (200, b"started")
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        until(lambda: {state_of(child) for child in children.read_text().split()} <= {"Z"})
        assert service.stop(signal.SIGTERM, 20) == 0


def test_an_application_that_ends_the_process_ends_it_with_its_code(tmp_path: Path) -> None:
    service = launch(make_service(tmp_path / "small", SETTINGS, HOSTILE))
    service.wait_ready()
    with pytest.raises(OSError, match=r"."):
        get(service.url + "/exit")
    assert service.process.wait(20) == 7
