"""A start that fails says why in a sentence, and one that goes on answers its probes and ends when it is told to."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests import small_models
from tests.running import Running, free_port, get, launch, make_service, post_json
from tests.serving.web.slow_service import FOLDER, answer, assert_pinged_in_vain, body, connect, head, patient
from tests.waiting import until

IMPORTS = "from serving.service.service import Answer, Service, route\n"
OWN_STATUS = """
from serving.service.service import Service, route
class S(Service):
    @route("/status", "GET")
    def status(self, request): return 1
"""


def lives(service: Running) -> bool:
    with contextlib.suppress(OSError):
        return get(service.admin + "/livez")[0] == 200
    return False


def test_a_sigterm_while_loading_exits_0() -> None:
    service = launch(FOLDER, {"SETUP_SECONDS": "30"})
    try:
        until(partial(lives, service))
        assert get(service.admin + "/readyz") == (503, b"starting\n")
        status, text = post_json(service.url + "/api/slow", {"data": [[0]]})
        assert (status, text["reason"]) == (503, "not_ready")
        for url in (service.url, service.admin):
            assert_pinged_in_vain(url, "the model is still loading")
        status, text = get(service.url + "/health")
        told = json.loads(text)
        assert (status, told["reason"], told["state"], told["ready"]) == (503, "not_ready", "starting", False)
        assert 0 < told["memory_bytes"] < told["memory_limit_bytes"]
        assert service.stop() == 0
        assert "ready after" not in service.log.read_text()
    finally:
        service.process.kill()
        service.process.wait(10)


def test_a_pod_that_is_ended_while_loading_never_becomes_ready(tmp_path: Path) -> None:
    """A client that was refused and still owes its body keeps the process until the models are loaded."""
    service = launch(patient(tmp_path / "slow", upload_timeout_second=30, timeout_second=30), {"SETUP_SECONDS": "2"})
    try:
        until(partial(lives, service))
        with connect(service) as s:
            s.sendall(head(len(body(0))) + body(0)[:1])
            assert answer(s)[0] == 503
            service.process.send_signal(signal.SIGTERM)
            until(lambda: '"message":"try: ' in service.log.read_text())
            assert "draining for 0 s" in service.log.read_text()  # the pod was not ready when it was told to end
            assert get(service.admin + "/readyz")[0] == 503
        assert service.process.wait(60) == 0
    finally:
        service.process.kill()
        service.process.wait(10)


@pytest.mark.parametrize(
    ("settings", "server", "words"),
    [
        ('model_path = "model/none.onnx"', "", "no such file; put the model there"),
        ('model_path = "value.py"', "", "not loaded as an ONNX model"),
        ("", "", "no model_path"),
        ('memory = "64Mi"\nmodel_path = "model/digits.onnx"', "", "loading and warming took"),
        ("cpu = 'two'", "", "value.py:4: cpu is 'two', but must be a number"),
        ("", "1/0", "ZeroDivisionError"),
        ("", OWN_STATUS, "route '/status' of status: "),
        ("", "x = 1", "holds 0 subclasses of Service"),
        (
            "",
            "from serving.service.service import Service\nclass S(Service):\n    def setup(self): open('/none')",
            "setup failed: FileNotFound",
        ),
        ('provider = "cuda"\ngpu_memory = 4\nmodel_path = "model/digits.onnx"', "", "provider cuda is not in this onnxruntime"),
    ],
)
def test_a_start_that_fails_says_why_in_words_and_exits_1(tmp_path: Path, settings: str, server: str, words: str) -> None:
    service = launch(make_service(tmp_path / "s", settings, server, ("tests/models/digits.onnx",)))
    assert service.process.wait(120) == 1
    text = service.log.read_text()
    assert words in text.splitlines()[-1]
    assert "signal" not in text
    assert "drain" not in text


def test_a_warm_up_that_never_ends_leaves_the_probes_and_the_end_as_they_are(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/m.onnx"')
    small_models.endless(folder / "model/m.onnx")
    service = launch(folder)
    try:
        until(lambda: "threads of the model" in service.log.read_text())
        for _ in range(20):
            began = time.monotonic()
            assert get(service.admin + "/livez")[0] == 200
            assert get(service.admin + "/readyz")[0] == 503
            assert time.monotonic() - began < 2
        assert service.stop(signal.SIGTERM, 10) == 0
    finally:
        service.process.kill()
        service.process.wait(60)


@pytest.mark.parametrize("size", [2**31, 2**40])
def test_an_input_that_memory_cannot_hold_ends_the_start_in_a_sentence(size: int, tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/m.onnx"')
    small_models.identity(folder / "model/m.onnx", shape=("n", size))
    service = launch(folder)
    assert service.process.wait(30) == 1
    words = f"input 'x' of shape [1, {size}] takes more than the memory, 2048 MiB; lower max_batch_size, give it more"
    assert words in service.log.read_text()
    assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("class S(Service):\n def setup(self): raise SystemExit('no index')", "setup failed: SystemExit: no index"),
        ("raise SystemExit()", "SystemExit"),
        ("class S(Service):\n def __init__(self, *a): raise ValueError('mine')", "ValueError: mine"),
        ("class S(Service):\n @route('/a/<int:')\n def own(self, r): return 1", "its routes: ValueError: malformed url rule"),
    ],
)
def test_a_services_own_code_that_fails_at_the_start_is_named_and_soon(tmp_path: Path, code: str, words: str) -> None:
    folder = make_service(tmp_path / "s", "", IMPORTS + code)
    value = folder / "value.py"
    value.write_text(value.read_text().replace("drain_delay_second = 0.3", "drain_delay_second = 60"))
    service = launch(folder)
    assert service.process.wait(120) == 1
    last = service.log.read_text().splitlines()[-1]
    assert last.startswith(f"{folder / 'src/server.py'}: {words}")


def test_a_port_that_is_taken_and_one_that_is_none_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = serve("--port", str(free_port()), "--admin-port", port)
        assert (ran.returncode, f"127.0.0.1:{port}: Address already in use" in ran.stderr) == (1, True)
    ran = serve("--port", "99999")
    assert (ran.returncode, "'99999' is not a port" in ran.stderr) == (2, True)


def serve(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "monopod", "serve", "--service", str(FOLDER), "--host", "127.0.0.1", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
