"""A service's own code, good and bad, over sockets: its routes, its answers, its errors.

A service's own code without a server: the same answers, and models that are opened on their first use.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.base.errors import BadInput, ModelFailed, StartError
from serving.service.application import Application
from serving.service.loader import open_service
from serving.service.request import make_request
from serving.service.service import files_of
from serving.settings import SettingsError
from tests.running import PYTHONPATH, ROOT, Running, get, make_service, post_json, running
from tests.serving.web.test_app import JSON, ask, logged

ODD = '''
import sys
import time
from decimal import Decimal

import numpy as np

from serving.base.errors import BadInput
from serving.service.service import Answer, Service, route
from serving.models.tensors import TensorSpec


class Odd(Service):
    def setup(self):
        seconds = (TensorSpec("seconds", "FP32", (-1,)),)
        self.nap = self.models.add("nap", self.sleep, seconds, seconds)

    def sleep(self, arrays):
        time.sleep(float(arrays["seconds"].max()))
        return arrays

    def handle(self, request):
        """Answers with what the field `answer` asks for."""
        kind = request.fields.get("answer")
        if kind == "late":
            return self.nap.submit({"seconds": np.float32([0.4])}, request).result(request.life.left())
        if kind == "bad":
            raise BadInput("no face found")
        if kind == "exit":
            sys.exit("the end")
        wrong = {"set": {1}, "long": 2**80, "bytes": b"x", "deep": [1, {"scores": (Decimal("0.5"),)}], "key": {(1, 2): 3}}
        return {**wrong, "picture": Answer(b"PNG", "image/png", 201)}[kind]

    def post_process(self, outputs, request):
        return outputs

    @route("/items", "GET")
    def items(self, request):
        return "listed"

    @route("/items", "POST")
    def add_item(self, request):
        return "added"

    @route("/items/<int:number>", "GET", "DELETE")
    def item(self, request):
        return dict(request.query)
'''
HANDLE = 1 + ODD.splitlines().index("    def handle(self, request):")


@pytest.fixture(scope="module")
def slow() -> Iterator[Running]:
    with running(ROOT / "tests/services/slow") as service:
        yield service


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(make_service(tmp_path_factory.mktemp("odd") / "small", "cpu = 1\ntimeout_second = 5", ODD)) as service:
        yield service


def test_nan_and_infinity_become_null(slow: Running) -> None:
    status, body = get(slow.url + "/nan", b"{}", JSON)
    assert (status, json.loads(body)["results"]) == (200, {"nan": None, "infinity": None, "array": [1.5, None]})


def test_a_route_of_ones_own_has_methods_variables_and_a_query(odd: Running) -> None:
    assert json.loads(get(odd.url + "/api/small/items")[1])["results"] == "listed"
    assert json.loads(get(odd.url + "/api/small/items", b"{}", JSON)[1])["results"] == "added"
    assert json.loads(get(odd.url + "/items/7?k=v")[1])["results"] == {"k": "v", "number": 7}
    assert get(odd.url + "/items/7", method="DELETE")[0] == 200
    assert get(odd.url + "/items/seven")[0] == 404
    assert "/items" in json.loads(get(odd.url + "/openapi.json")[1])["paths"]


def test_an_answer_may_be_something_else_than_json(odd: Running) -> None:
    status, headers, body = ask(odd, "POST", "/api/small", b'{"answer":"picture"}', JSON)
    assert (status, headers["content-type"], body) == (201, "image/png", b"PNG")


def test_bad_input_that_a_service_raises_is_a_400_with_its_text(odd: Running) -> None:
    status, answer = post_json(odd.url + "/api/small", {"answer": "bad"})
    assert (status, answer["error"], answer["msg"]) == (400, "no face found", "no face found")


@pytest.mark.parametrize("kind", ["exit", "unknown"])
def test_a_mistake_of_the_services_code_is_a_500_with_an_id_at_once(odd: Running, kind: str) -> None:
    began = time.monotonic()
    status, answer = post_json(odd.url + "/api/small", {"answer": kind})
    assert (status, answer["reason"]) == (500, "service_failed")
    assert time.monotonic() - began < 3
    assert answer["request_id"] in answer["error"]
    logged(odd, lambda line: line.get("request_id") == answer["request_id"] and "Traceback" in json.dumps(line))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("set", "results: JSON cannot hold a value of type set"),
        ("long", "results: Integer exceeds 64-bit range"),
        ("bytes", "results: JSON cannot hold a value of type bytes"),
        ("deep", "results[1].scores[0]: JSON cannot hold a value of type Decimal"),
        ("key", "results: Dict key must"),
    ],
)
def test_a_result_that_json_cannot_hold_is_a_500_and_the_log_has_its_path_and_the_functions_line(
    odd: Running, kind: str, words: str
) -> None:
    status, answer = post_json(odd.url + "/api/small", {"answer": kind})
    assert (status, answer["reason"]) == (500, "service_failed")
    assert answer["request_id"] in answer["error"]
    assert words not in answer["error"]
    line = logged(odd, lambda line: line.get("request_id") == answer["request_id"] and line["level"] == "error")
    assert words in line["message"]
    assert f"server.py, line {HANDLE}, handle" in line["message"]
    assert "traceback" not in line


def test_a_method_whose_name_is_like_a_hooks_is_told_at_the_start(odd: Running) -> None:
    told = logged(odd, lambda line: "did you mean the hook" in line["message"])
    assert told["level"] == "warning"
    assert "nothing calls 'post_process'" in told["message"]
    assert told["message"].endswith("the hook 'postprocess'?")


def test_code_that_waits_past_the_deadline_is_a_504_and_no_crash(odd: Running) -> None:
    headers = JSON | {"X-Request-Timeout-Ms": "150", "X-Request-Id": "late"}
    for _ in range(5):
        status, _, body = ask(odd, "POST", "/api/small", b'{"answer":"late"}', headers)
        assert (status, json.loads(body)["reason"]) == (504, "short_deadline")
    assert not [line for line in odd.lines() if line.get("request_id") == "late" and line["level"] == "error"]


def test_a_crash_tells_the_client_an_id_and_the_log_the_rest(slow: Running) -> None:
    status, _, body = ask(slow, "POST", "/crash", b"{}", {**JSON, "X-Request-Id": "crash-1"})
    assert (status, json.loads(body)["request_id"]) == (500, "crash-1")
    assert b"secret" not in body
    assert b"KeyError" not in body
    line = logged(slow, lambda line: line.get("request_id") == "crash-1" and line["level"] == "error")
    assert "secret detail" in json.dumps(line)


@pytest.mark.parametrize(("seconds", "words"), [(-1, "model"), (-2, "0 rows of output 'slept' for 1 rows")])
def test_a_model_that_fails_is_a_500_and_the_next_call_is_answered(slow: Running, seconds: int, words: str) -> None:
    status, answer = post_json(slow.url + "/api/slow", {"data": [[seconds]]})
    assert (status, answer["reason"]) == (500, "model_failed")
    assert words in answer["error"]
    assert post_json(slow.url + "/api/slow", {"data": [[0]]})[0] == 200


COFFEE = (ROOT / "examples/images/coffee.jpg").read_bytes()


def test_the_roots_service_answers_without_a_server() -> None:
    service = open_service(ROOT)
    service.setup()
    results = service.handle(make_request(image=COFFEE))
    assert results[0]["label"] == "espresso"
    with pytest.raises(BadInput, match="holds 2 pictures; send one"):
        service.handle(make_request(images=[COFFEE, COFFEE]))


def test_a_missing_model_is_an_error_when_it_is_used(tmp_path: Path) -> None:
    service = open_service(make_service(tmp_path / "small", 'model_path = "model/none.onnx"'))
    service.setup()
    with pytest.raises(ModelFailed):
        service.model({}, make_request())


def test_mistakes_are_told_as_at_the_start_of_a_server(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cpus"):
        open_service(make_service(tmp_path / "wrong", "cpus = 2"))
    with pytest.raises(StartError, match="holds 0 subclasses of Service"):
        open_service(make_service(tmp_path / "none", "", "x = 1"))
    with pytest.raises(StartError, match=r"imports no_such_package, .*requirements.txt"):
        open_service(make_service(tmp_path / "bare", "", "import no_such_package"))
    with pytest.raises(StartError, match=r"there is no serving.batcher"):
        open_service(make_service(tmp_path / "old", "", "from serving.batcher import Batcher"))


BOTH = "from flask import Flask\nfrom serving.api import Service\nclass A(Service): ...\napp = Flask('x')\n"
HELLO = "from flask import Flask, current_app\nweb = Flask('x')\napplication = web\n_app = Flask('y')\n"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (BOTH, r"1 subclasses of Service \(A in line 3\) and 1 applications \(app in line 4\), .*leave one"),
        (BOTH + "class B(Service): ...", r"2 subclasses of Service \(A in line 3, B in line 5\)"),
        (HELLO + "app = Flask('z')", r"2 applications \(web in line 2, app in line 5\)"),
        ("if True:\n    async def app(scope, receive, send): ...", "line 2: app is an ASGI application"),
        ("class Api:\n    async def __call__(self, scope, receive, send): ...\napp = Api()", "line 3: app .*flask.md#asgi"),
        ("import aiohttp.web\napplication = aiohttp.web.Application()", "line 2: application is an ASGI"),
    ],
)
def test_a_server_with_several_applications_or_another_kind_is_refused_with_its_lines(
    tmp_path: Path, server: str, words: str
) -> None:
    with pytest.raises(StartError, match=words):
        open_service(make_service(tmp_path / "small", "", server))


def test_an_application_stands_in_place_of_a_service_and_settings_that_need_one_are_refused(tmp_path: Path) -> None:
    assert isinstance(open_service(make_service(tmp_path / "one" / "small", "", HELLO)), Application)
    function = "def application(environ, start): ..."
    assert isinstance(open_service(make_service(tmp_path / "two" / "small", "", function)), Application)
    with pytest.raises(StartError, match=r"cache is for a subclass of Service, .*flask.md"):
        open_service(make_service(tmp_path / "three" / "small", "cache = 'local'", HELLO))


def test_a_script_that_ends_while_a_model_works_ends_as_it_says(tmp_path: Path) -> None:
    folder = make_service(
        tmp_path / "small",
        'model_path = "model/efficientnet-lite0.onnx"\nmax_batch_size = 16',
        models=("examples/sku-recognition/model/efficientnet-lite0.onnx",),
    )
    script = (
        "import sys, time, pathlib, numpy; from serving.api import make_request, open_service\n"
        f"model = open_service(pathlib.Path({str(folder)!r})).model\n"
        "[(name, shape)] = [(each.name, each.shape) for each in model.spec(make_request().life).inputs]\n"
        "model.submit({name: numpy.zeros((16, *shape[1:]), numpy.float32)}, make_request())\n"
        "class Slow:\n    def __del__(self, sleep=time.sleep): sleep(2)\n"
        "slow = Slow()\n"  # the interpreter's end takes longer than the batch
        "time.sleep(0.05); sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")


def test_a_service_may_have_a_method_or_an_attribute_of_its_own_named_files(tmp_path: Path) -> None:
    server = """
from serving.api import Service


class Older(Service):
    pictures = True

    def files(self):
        return []


class Attribute(Service):
    def setup(self):
        self.files = {"coins": "u2netp.onnx"}
"""
    first, second = server.partition("class Attribute")[0], server.replace("class Older(Service)", "class Older")
    older = open_service(make_service(tmp_path / "older" / "small", "", first))
    attribute = open_service(make_service(tmp_path / "attribute" / "small", "", second))
    attribute.setup()
    assert (list(files_of(older)), list(files_of(attribute))) == (["image"], [])
