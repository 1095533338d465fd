"""A service's own routes, its options, its watched files and its vitals, over the real server."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import ROOT, Running, get, launch, make_service, post_json, running

SERVER = '''
from serving.service.request import Request
from serving.service.service import Service, route


class Own(Service):
    example = {"question": "what's new?"}

    def setup(self) -> None:
        self.watch(self.folder / "model/word.txt", self.load)

    def load(self) -> None:
        self.word = (self.folder / "model/word.txt").read_text().strip()
        if not self.word:
            raise ValueError("the word is empty")

    def handle(self, request: Request) -> object:
        return [request.value("question", str), self.word, self.settings.options]

    @route("/pair", pictures=2)
    def pair(self, request: Request) -> object:
        """The sizes of two pictures."""
        first, second = request.images(2, at_least=(64, 64))
        return [first.size, second.size]

    @route("/size", pictures=1)
    def size(self, request: Request) -> object:
        return [request.image_size(), request.image(at_least=(64, 64)).size]

    @route("/numbers", "GET")
    def numbers(self, request: Request) -> object:
        return {"recent": self.metrics.recent("/pair"), **self.vitals()}
'''
IMAGES = ROOT / "examples/images"
COFFEE, CAT = IMAGES / "coffee.jpg", IMAGES / "chelsea.jpg"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(tmp_path_factory.mktemp("own") / "small", 'options = {"threshold": 0.5, "mode": "fast"}', SERVER)
    (folder / "model/word.txt").write_text("first")
    with running(folder) as it:
        yield it


def asked(own: Running, line: str) -> Any:
    done = subprocess.run(f"curl -s {line.format(url=own.url + '/api/small')}", shell=True, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_two_pictures_come_as_a_form_sends_them(own: Running) -> None:
    answer = asked(own, f"-F image=@{COFFEE} -F image=@{CAT} {{url}}/pair")
    assert answer["results"] == [[150, 100], [113, 75]]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_pictures_is_a_400_in_words(own: Running, count: int) -> None:
    files = f"-F image=@{COFFEE} " * count or "-X POST "
    assert f"the request holds {count} pictures and must hold 2" in asked(own, f"{files} {{url}}/pair")["error"]


def test_a_picture_tells_the_size_it_was_sent_in(own: Running) -> None:
    assert asked(own, f"-F image=@{COFFEE} {{url}}/size")["results"] == [[600, 400], [150, 100]]


def test_the_start_prints_a_curl_line_that_works(own: Running) -> None:
    line = next(each["message"] for each in own.lines() if each["message"].startswith("try: curl"))
    done = subprocess.run(line.removeprefix("try: "), shell=True, capture_output=True, check=True)
    assert json.loads(done.stdout)["results"] == ["what's new?", "first", {"threshold": 0.5, "mode": "fast"}]


def test_openapi_tells_examples_and_pictures(own: Running) -> None:
    paths = json.loads(get(own.url + "/openapi.json")[1])["paths"]
    body = paths["/api/small"]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"] == {"question": "what's new?"}
    assert "image" not in body["schema"]["properties"]
    assert "question" in body["schema"]["properties"]
    assert {path: paths[path]["post"]["x-pictures"] for path in ("/pair", "/size")} == {"/pair": 2, "/size": 1}


def test_a_service_reads_its_own_percentiles_memory_and_cores(own: Running) -> None:
    asked(own, f"-F image=@{COFFEE} -F image=@{CAT} {{url}}/pair")
    found = json.loads(get(own.url + "/numbers")[1])["results"]
    assert found["recent"]["requests"] >= 1
    assert 0 < found["recent"]["p50_ms"] <= found["recent"]["p95_ms"] <= found["recent"]["p99_ms"] < 30_000
    assert 2**24 < found["memory_bytes"] < found["memory_limit_bytes"] == 2 * 2**30
    assert found["cpu_cores_asked"] == 1
    assert 0 <= found["cpu_cores"] < 64
    assert (found["queue_rows"], found["queue_limit"], found["oldest_seconds"]) == (0, 64, 0.0)


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_pictures_are_suggested_only_where_the_service_takes_pictures(own: Running, content_type: str) -> None:
    line = f"-X POST -H 'Content-Type: {content_type}' -d question=why {{url}}"
    told = asked(own, line)["error"]
    assert "-H 'Content-Type: application/json'" in told
    assert "picture" not in told
    assert "image" not in told
    assert "-F image=@picture.jpg" in asked(own, line + "/size")["error"]


def test_an_array_is_no_body_and_no_picture_is_suggested_to_a_json_service(own: Running) -> None:
    told = post_json(own.url + "/api/small", [1])[1]["error"]
    assert told.startswith("the body is an array; ")


def test_a_services_own_health_is_told_in_place_of_the_platforms(tmp_path: Path) -> None:
    server = "from serving.service.service import Request, Service, route\n"
    server += (
        "class Own(Service):\n    @route('/health', 'GET')\n    def well(self, request):\n        'My own.'\n        return 7\n"
    )
    with running(make_service(tmp_path / "small", "", server)) as service:
        assert json.loads(get(service.url + "/api/small/health")[1])["results"] == 7
        told = json.loads(get(service.url + "/openapi.json")[1])["paths"]["/health"]
    assert (set(told), told["get"]["summary"]) == ({"get"}, "My own.")


def test_a_service_that_asks_for_a_text_tells_the_client_which_one_is_missing(own: Running) -> None:
    assert post_json(own.url + "/api/small", {})[1]["error"] == "the request has no question; send a text"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ('{"threshold": "much"}', "threshold = 'much'; it must be a number from 0 to 1"),
        ('{"threshold": 2}', "threshold = 2.0; it must be a number from 0 to 1"),
        ('{"mode": True}', "mode = True; it must be a text"),
    ],
)
def test_an_option_of_another_kind_ends_the_start_in_words(tmp_path: Path, options: str, words: str) -> None:
    server = """
from serving.service.service import Service


class Own(Service):
    def setup(self) -> None:
        self.threshold = self.option("threshold", 0.5, 0, 1)
        self.mode = self.option("mode", "fast")
"""
    service = launch(make_service(tmp_path / "small", f"options = {options}", server))
    assert service.process.wait(60) == 1
    assert f"value.py: options says {words}" in service.log.read_text()
    service.log.unlink()


def test_a_watched_file_that_is_broken_at_the_start_ends_it_in_words(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", "", SERVER)
    (folder / "model/word.txt").write_text("")
    service = launch(folder)
    assert service.process.wait(60) == 1
    assert "setup failed: ValueError: the word" in service.log.read_text()
    service.log.unlink()


def test_own_routes_wait_for_setup_and_numpy_starts_no_threads_of_its_own(tmp_path: Path) -> None:
    server = """
import os, pathlib, time

from serving.service.service import Service, route


class Own(Service):
    def setup(self) -> None:
        while not (self.folder / "go").exists():
            time.sleep(0.02)
        self.ready = [os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]]

    @route("/health", "GET")
    def health(self, request: object) -> object:
        return self.ready
"""
    folder = make_service(tmp_path / "small", "", server)
    service = launch(folder)
    try:
        until_up(service)
        status, body = get(service.url + "/health")
        assert (status, json.loads(body)["reason"]) == (503, "not_ready")
        (folder / "go").touch()
        service.wait_ready()
        assert json.loads(get(service.url + "/health")[1])["results"] == ["1", "1"]
    finally:
        service.stop(9)
        service.log.unlink()


def until_up(service: Running) -> None:
    """Wait until the ports answer, ready or not."""
    end = time.monotonic() + 30
    while True:
        try:
            get(service.url + "/status")
            return
        except OSError:
            assert time.monotonic() < end, service.log.read_text()
            time.sleep(0.05)
