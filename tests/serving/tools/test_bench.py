"""monopod bench: the requests, and the report of them, of servers that refuse or are not there, and after Ctrl-C."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import monopod
from serving.inputs.files import content_type
from serving.tools.bench import bench_command
from serving.tools.bench.http_client import BenchError, Body, bodies, client, text_of
from serving.tools.bench.load_generator import Answer
from tests.running import PYTHONPATH, ROOT, Running, free_port, make_service, running
from tests.serving.http_server import http_server

COFFEE = str(ROOT / "examples/images/coffee.jpg")
CHELSEA = str(ROOT / "examples/images/chelsea.jpg")
Captured = pytest.CaptureFixture[str]


def bench(capsys: Captured, *arguments: str) -> tuple[int, Any]:
    """Run the command and return its exit status and JSON."""
    status = monopod.main(["bench", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_files_texts_and_a_form_are_sent_in_turn_as_what_they_are(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "a.mkv").write_bytes(b"video")
    (tmp_path / "b.json").write_bytes(b'{"k": 2}')
    got: list[tuple[str, bytes]] = []

    def reply(body: bytes, kind: str) -> tuple[int, bytes]:
        got.append((kind, body))
        return 200, b"{}"

    with http_server(reply) as url:
        arguments = [
            "--file",
            COFFEE,
            "--image",
            str(tmp_path / "a.mkv"),
            "--data",
            '{"k": 1}',
            "--data",
            f"@{tmp_path}/b.json",
        ]
        arguments += ["--form", f"image=@{COFFEE}", "--form", f"image=@{CHELSEA}", "--form", "k=3"]
        status, found = bench(capsys, "--url", url, *arguments, "--rate", "50", "--seconds", "0.1", "--warm-up", "0")
    assert (status, found["requests"]) == (0, 5)
    kinds = dict(got)
    assert kinds["image/jpeg"] == Path(COFFEE).read_bytes()
    assert kinds["video/x-matroska"] == b"video"
    assert sorted(body for kind, body in got if kind == "application/json") == [b'{"k": 1}', b'{"k": 2}']
    whole = next(body for kind, body in got if kind.startswith("multipart/form-data; boundary="))
    assert whole.count(b'name="image"; filename=') == 2
    assert Path(CHELSEA).read_bytes() in whole
    assert b'name="k"\r\n\r\n3\r\n' in whole


def test_a_service_takes_what_is_sent_and_is_found_by_its_value_py(
    demo: Running, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(bench_command, "PORT", demo.port)
    load = ["--service", str(ROOT), "--seconds", "0.5", "--warm-up", "0.1", "--concurrency", "2"]
    status, found = bench(capsys, *load, "--file", COFFEE)
    assert status == 0
    assert found["request"] == f"POST http://localhost:{demo.port}/api/like/demo"
    assert [kind["name"] for kind in found["kinds"]] == ["200"]
    assert found["throughput"] > 0
    status, found = bench(capsys, *load, "--form", f"image=@{CHELSEA}")
    assert (status, [kind["name"] for kind in found["kinds"]]) == (0, ["200"])


def test_what_a_service_gives_as_its_example_is_sent_where_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    server = "from serving.service.service import Service\nclass Own(Service):\n    example = {'question': \"what's new?\"}\n"
    server += "    def handle(self, request):\n        return request.value('question', str)\n"
    folder = make_service(tmp_path / "small", "", server)
    with running(folder) as service:
        monkeypatch.setattr(bench_command, "PORT", service.port)
        status, found = bench(capsys, "--service", str(folder), "--seconds", "0.3", "--warm-up", "0")
        assert (status, [kind["name"] for kind in found["kinds"]]) == (0, ["200"])
        assert service.metric('monopod_requests_total{code="200",reason="",route="service"}') >= found["requests"]


@pytest.mark.parametrize("place", ["", "/", "/api/small", "/api/like/small/"])
def test_a_base_address_stands_for_the_services_route_and_its_example(asking: Running, place: str, capsys: Captured) -> None:
    load = ["--seconds", "0.2", "--warm-up", "0", "--concurrency", "1", "--url", asking.url + place]
    status, found = bench(capsys, *load)
    assert (status, [kind["name"] for kind in found["kinds"]]) == (0, ["200"])
    assert found["request"].startswith(f"POST {asking.url}/api/")
    assert monopod.main(["bench", *load, "--data", '{"question": 5}']) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert re.match(r"(\d+) of \1 answers were 400; ", first)
    assert "question is a number" in first


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that gives an example."""
    server = "from serving.service.service import Service\nclass Own(Service):\n    example = {'question': \"what's new?\"}\n"
    server += "    def handle(self, request):\n        return request.value('question', str)\n"
    with running(make_service(tmp_path_factory.mktemp("asking") / "small", "", server)) as service:
        yield service


def test_an_applications_own_path_is_asked_where_the_url_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    server = "from flask import Flask\napp = Flask(__name__)\n"
    server += "app.add_url_rule('/api/small', 'answer', lambda: {}, methods=['GET', 'POST'])\n"
    folder = make_service(tmp_path / "small", "", server)
    with running(folder) as service:
        monkeypatch.setattr(bench_command, "PORT", service.port)
        for asked, place in ((["--service", str(folder)], "localhost"), (["--url", service.url], "127.0.0.1")):
            for body, method in (((), "GET"), (("--data", "{}"), "POST")):
                status, found = bench(capsys, *asked, *body, "--seconds", "0.2", "--warm-up", "0", "--concurrency", "1")
                assert (status, [kind["name"] for kind in found["kinds"]]) == (0, ["200"])
                assert found["request"] == f"{method} http://{place}:{service.port}/api/like/small"


def test_a_service_that_gives_no_example_of_json_is_told_what_to_add(
    demo: Running, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(bench_command, "PORT", demo.port)
    assert monopod.main(["bench", "--service", str(ROOT)]) == 1
    told = capsys.readouterr().err
    assert "the service gives no example of JSON" in told
    assert "add --file FILE, --data" in told


def test_a_server_that_describes_nothing_is_told_what_to_send(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    with http_server(lambda body, kind: (200, b"[]")) as url:
        monkeypatch.setattr(bench_command, "PORT", int(url.rpartition(":")[2].rstrip("/")))
        assert monopod.main(["bench", "--service", str(ROOT)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("nothing to send, and http://localhost:")
    assert "tells no example" in told


def test_a_varied_picture_is_a_new_file_each_time_and_still_a_picture(
    demo: Running, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    sent: list[bytes] = []
    varied = Body.varied

    def noted(body: Body, mark: bytes) -> bytes:
        sent.append(varied(body, mark))
        return sent[-1]

    monkeypatch.setattr(Body, "varied", noted)
    load = ["--url", demo.url + "/api/like/demo", "--vary", "--seconds", "0.4", "--warm-up", "0", "--concurrency", "2"]
    coins = str(ROOT / "examples/images/coins.png")
    status, found = bench(capsys, *load, "--file", COFFEE, "--file", coins, "--form", f"image=@{CHELSEA}")
    assert (status, [kind["name"] for kind in found["kinds"]]) == (0, ["200"])
    assert len(set(sent)) == len(sent) >= 3
    assert sent[0].startswith(Path(COFFEE).read_bytes())


def test_without_a_body_a_url_is_asked_with_get_and_a_person_gets_a_table(demo: Running, capsys: Captured) -> None:
    assert (
        monopod.main(["bench", "--url", demo.url + "/api/ping", "--rate", "100", "--seconds", "0.5", "--warm-up", "0.1"]) == 0
    )
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].startswith(f"GET {demo.url}/api/ping, 100 requests a second, ")
    assert lines[0].endswith(" 0.5 s after 0.1 s of warm-up")
    assert lines[2].split() == ["requests", "p50", "ms", "p95", "ms", "p99", "ms", "max", "ms"]
    assert lines[3].split()[:2] == ["200", "50"]
    assert "answers of 2xx a second; " in lines[5]
    assert said.err == ""


def test_a_server_that_refuses_all_is_told_in_its_own_words(capsys: Captured) -> None:
    with http_server(lambda body, kind: (429, b'{"error": "the queue is full; try again"}')) as url:
        assert monopod.main(["bench", "--url", url, "--data", "{}", "--seconds", "0.3", "--warm-up", "0"]) == 1
    said = capsys.readouterr().out
    assert "no answer was 2xx" in said
    assert "429; the first said: the queue is full" in said


def test_an_answer_that_is_no_json_is_shown_as_text() -> None:
    assert text_of(b"<html>\n  <h1>502 Bad Gateway</h1>") == "<html> <h1>502 Bad Gateway</h1>"
    assert text_of(b'["odd"]') == '["odd"]'
    assert len(text_of(b"\xff" * 1000)) == 300
    assert text_of(b"\x1b[2Jgone") == "?[2Jgone"  # a terminal would obey


def test_a_long_answer_is_read_to_its_end_and_not_kept() -> None:
    async def ask(url: str) -> Answer:
        async with client(url, [], {}, 20) as send:
            return await send(0)

    long = b"x" * 50_000_000
    with http_server(lambda body, kind: (500, long)) as url:
        tracemalloc.start()
        answer = asyncio.run(ask(url))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (answer.kind, len(answer.text)) == ("500", 300)
    assert most < 10_000_000


@contextlib.contextmanager
def resetting() -> Iterator[str]:
    """Reset the first connection as soon as it has sent something. There is no answer for another one."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reset() -> None:
            connection, _ = server.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.recv(1)
            connection.close()

        threading.Thread(target=reset, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_certificate_that_nobody_vouches_for_is_told_in_words(
    tmp_path: Path, needs: Callable[[str, str], str], capsys: Captured
) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    make = [needs("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http_server(lambda body, kind: (200, b""), context) as url:
        status, found = bench(capsys, "--url", url, "--concurrency", "1", "--seconds", "0.1", "--warm-up", "0")
    assert status == 1
    assert {kind["name"] for kind in found["kinds"]} == {"certificate not trusted"}


def test_a_password_in_the_url_is_sent_and_never_shown(capsys: Captured) -> None:
    with http_server(lambda body, kind: (200, b"")) as url:
        with_password = url.replace("http://", "http://me:secret@")
        status, found = bench(capsys, "--url", f"{with_password}/a", "--rate", "20", "--seconds", "0.1", "--warm-up", "0")
    assert (status, found["request"]) == (0, f"GET {url}/a")
    assert monopod.main(["bench", "--url", f"http://me:secret@127.0.0.1:{free_port()}"]) == 1
    assert monopod.main(["bench", "--url", "http://me:secret@x:y"]) == 1
    assert "secret" not in capsys.readouterr().err


def test_a_server_that_dies_is_an_error_of_its_own_kind() -> None:
    async def ask(url: str) -> Answer:
        async with client(url, [], {}, 0.2) as send:
            return await send(0)

    def hang(body: bytes, kind: str) -> tuple[int, bytes]:
        time.sleep(0.4)
        return 200, b""

    def cut_off(body: bytes, kind: str) -> tuple[int, bytes]:
        raise ConnectionAbortedError

    assert asyncio.run(ask(f"http://127.0.0.1:{free_port()}")).kind == "connection refused"
    with resetting() as url:
        assert asyncio.run(ask(url)).kind == "connection reset"  # and not sent again in secret, which would be a timeout
    with http_server(lambda body, kind: (200, b"")) as url:
        assert asyncio.run(ask(url.replace("http:", "https:"))).kind == "no TLS there"
    with http_server(hang) as url:
        assert asyncio.run(ask(url)).kind == "timeout"
    with http_server(cut_off) as url:
        assert asyncio.run(ask(url)).kind == "closed without an answer"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--file", "no.jpg", "--url", "http://x/"], "no.jpg: No such file or directory"),
        (["--data", "{bad", "--url", "http://x/"], "--data '{bad' is not JSON: "),
        (["--form", "image", "--url", "http://x/"], "--form 'image': write NAME=TEXT or NAME=@FILE"),
        (["--header", "bad", "--url", "http://x/"], "--header 'bad': write 'Name: value'"),
        (["--url", "localhost:8080"], "--url 'localhost:8080' is not the URL of a service"),
        (["--url", ""], "--url '' is not the URL of a service"),  # as a shell writes a variable that is not set
        (["--url", "http://[::1"], "--url 'http://[::1' is not the URL of a service"),
        (["--url", "http://localhost:0/"], "--url 'http://localhost:0/' is not the URL of a service"),
        (["--data", "{}", "--vary", "--url", "http://x/"], "--vary: makes each picture a new file, but no picture is sent"),
        (["--file", COFFEE, "--service", "nowhere"], "value.py: cannot be read"),
    ],
)
def test_what_cannot_be_sent_is_told_before_anything_is(arguments: list[str], told: str, capsys: Captured) -> None:
    assert monopod.main(["bench", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(told)
    _, found = bench(capsys, *arguments)
    assert found["mistakes"][0].startswith(told)


def test_a_dead_port_is_told_at_once_with_the_cure(capsys: Captured) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert monopod.main(["bench", "--url", url, "--data", "{}"]) == 1
    told = (
        f"{url} cannot be reached (connection refused); start the service with `make serve`, or name where it runs with --url"
    )
    assert capsys.readouterr().err == told + "\n"


@pytest.mark.parametrize("number", ["0", "-1", "nan", "x", "1e9"])
def test_a_rate_that_is_none_is_refused(number: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        monopod.main(["bench", f"--rate={number}"])
    assert "give a number" in capsys.readouterr().err


def test_ctrl_c_prints_what_was_measured_so_far() -> None:
    count, enough = iter(range(1_000_000)), threading.Event()

    def reply(body: bytes, kind: str) -> tuple[int, bytes]:
        time.sleep(0.02)
        if next(count) == 50:
            enough.set()
        return 200, b"{}"

    with http_server(reply) as url:
        line = [sys.executable, "-m", "monopod", "bench", "--url", url, "--seconds", "60", "--warm-up", "0"]
        paths = {"PYTHONPATH": PYTHONPATH}
        process = subprocess.Popen(line, env=paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert enough.wait(30)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, "")
    assert "note: stopped after " in said
    assert int(next(line for line in said.splitlines() if line.startswith("200")).split()[1]) >= 40


def test_help_has_an_example(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        monopod.main(["bench", "--help"])
    assert caught.value.code == 0
    assert "example: monopod bench" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.JPG", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.mp4", "video/mp4"),
        ("a.avi", "video/x-msvideo"),
        ("a.mov", "video/quicktime"),
        ("a.webm", "video/webm"),
        ("a.none", "application/octet-stream"),
    ],
)
def test_a_files_name_says_what_it_is(name: str, kind: str) -> None:
    assert content_type(Path(name)) == kind


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(BenchError, match="is empty"):
        bodies([tmp_path / "empty.jpg"], [], [])
