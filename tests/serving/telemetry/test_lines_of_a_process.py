"""A real process writes its events as JSON lines on stdout, its end among them, and all other text on standard error."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from serving.telemetry.logs import LINE_BYTES
from tests.running import PYTHONPATH, Running, free_port, get, make_service
from tests.waiting import until

POD = {
    "MONOPOD_POD": "small-1-a",
    "MONOPOD_REGION": "hk",
    "MONOPOD_REGIONS": "hk,eu",
    "MONOPOD_SERVICE": "small",
    "MONOPOD_USER": "like",
    "MONOPOD_TRACK": "grey",
    "MONOPOD_VERSION": "4f7cb14",
}
ORIGIN = {"service": "small", "user": "like", "track": "grey", "region": "hk", "version": "4f7cb14", "pod": "small-1-a"}
SERVER = r"""
import ctypes, logging, subprocess, sys, threading

from serving.api import Service, route

RUBBISH = bytes(range(1, 256)).replace(b"\n", b"")


def deep(left):
    return deep(left - 1) if left else 1 / 0


class Own(Service):
    @route("/prints", "GET")
    def prints(self, request):
        print("printed")
        print('{"looks":"like JSON"}')
        print("without its end", end="")
        sys.stdout.flush()
        print(" until now")
        sys.stdout.buffer.write(RUBBISH + b"\n")
        sys.stdout.flush()
        print(RUBBISH.decode("latin-1"))
        subprocess.run(["echo", "a child's"])

    @route("/logs", "GET")
    def logs(self, request):
        logging.getLogger("server").info("rubbish %s", RUBBISH.decode("utf-8", "surrogateescape"))
        logging.getLogger("server").info("begin%send", "\x1b" * 1_000_000)
        try:
            deep(500)
        except ZeroDivisionError:
            logging.getLogger("server").exception("failed")

    @route("/thread", "GET")
    def thread(self, request):
        worker = threading.Thread(target=deep, args=(3,), name="worker")
        worker.start()
        worker.join()

    @route("/many", "GET")
    def many(self, request):
        def both():
            for number in range(2_000):
                print("x" * 100)
                logging.getLogger("server").info("%d", number)
        threads = [threading.Thread(target=both) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    @route("/crash", "GET")
    def crash(self, request):
        ctypes.string_at(0)
"""


class Process(NamedTuple):
    """A process in a pod. out, err: the files of its streams."""

    running: Running
    out: Path
    err: Path

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of stdout: all of them are JSON, short, and tell where they come from."""
        whole = self.out.read_bytes().rpartition(b"\n")[0].split(b"\n")
        assert max(map(len, whole)) < LINE_BYTES
        found = [json.loads(line) for line in whole if line]
        assert [line for line in found if {name: line[name] for name in ORIGIN} != ORIGIN] == []
        assert [line for line in found if not {"time", "level", "logger", "message"} <= line.keys()] == []
        return found

    def waited(self, message: str) -> dict[str, Any]:
        """Return the line whose message begins so, once it is there."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line["message"].startswith(message)]

        until(lambda: bool(found()), seconds=20)
        return found()[0]


@contextmanager
def in_pod(folder: Path, files: Path) -> Iterator[Process]:
    """Serve a folder as in a pod, with the two streams apart."""
    port, admin_port = free_port(), free_port()
    command = [sys.executable, "-m", "monopod", "serve", "--service", str(folder), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--admin-port", str(admin_port)]
    out, err = files / "out", files / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        environment = {**os.environ, **POD, "PYTHONPATH": PYTHONPATH}
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment)
    try:
        yield Process(Running(process, port, admin_port, err), out, err)
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("talker")
    with in_pod(make_service(folder / "small", "", SERVER), folder) as process:
        process.running.wait_ready()
        yield process


def ended(tmp_path: Path, settings: str = "", server: str = "") -> tuple[int, list[dict[str, Any]], str]:
    """Return the exit code, the lines and the standard error of a service that does not start."""
    with in_pod(make_service(tmp_path / "small", settings, server), tmp_path) as process:
        code = process.running.process.wait(60)
        return code, process.lines(), process.err.read_text()


def test_what_a_service_prints_is_text_on_standard_error_and_stands_in_no_line(talker: Process) -> None:
    assert get(talker.running.url + "/prints")[0] == 200
    talker.waited("GET /prints")
    text = talker.err.read_bytes()
    for printed in (b"printed\n", b'{"looks":"like JSON"}\n', b"without its end until now\n", b"a child's\n"):
        assert printed in text
    rubbish = bytes(range(1, 256)).replace(b"\n", b"")
    assert rubbish + b"\n" in text
    assert rubbish.decode("latin-1").encode() + b"\n" in text


def test_binary_rubbish_and_long_lines_are_json_within_the_bound(talker: Process) -> None:
    assert get(talker.running.url + "/logs")[0] == 200
    assert "\x1b" in talker.waited("rubbish")["message"]
    long = talker.waited("begin")["message"]
    assert "characters left out" in long
    assert long.endswith("end")
    trace = talker.waited("failed")["traceback"]
    assert trace.startswith("Traceback (most recent call last)")
    assert trace.endswith("ZeroDivisionError: division by zero")


def test_an_exception_that_ends_a_thread_is_a_line_with_its_traceback(talker: Process) -> None:
    assert get(talker.running.url + "/thread")[0] == 200
    line = talker.waited("thread worker ends: uncaught ZeroDivisionError")
    assert (line["level"], line["traceback"].splitlines()[-1]) == ("error", "ZeroDivisionError: division by zero")
    assert "Traceback" not in talker.err.read_text(errors="replace")


def test_lines_of_many_threads_stay_whole_beside_what_they_print(talker: Process) -> None:
    assert get(talker.running.url + "/many")[0] == 200
    talker.waited("GET /many")
    numbers = [line["message"] for line in talker.lines() if line["logger"] == "server" and line["message"].isdecimal()]
    assert sorted(numbers, key=int) == [str(number) for number in range(2_000) for _ in range(4)]
    assert talker.err.read_bytes().count(b"x" * 100) == 8_000


def test_the_end_by_a_signal_is_told_and_is_the_last_line(tmp_path: Path) -> None:
    with in_pod(make_service(tmp_path / "small", "", SERVER), tmp_path) as process:
        process.running.wait_ready()
        assert process.running.stop(signal.SIGTERM) == 0
        messages = [line["message"] for line in process.lines()]
    assert messages[-3:] == ["signal 15: draining for 0.3 s", "drained", "the process ends with exit code 0"]


def test_a_crash_leaves_its_stack_as_text_and_every_line_before_it(tmp_path: Path) -> None:
    with in_pod(make_service(tmp_path / "small", "", SERVER), tmp_path) as process:
        process.running.wait_ready()
        process.waited("try: ")
        with pytest.raises(OSError, match="closed|reset"):
            get(process.running.url + "/crash")
        assert process.running.process.wait(30) == -signal.SIGSEGV
        assert process.lines()
        text = process.err.read_text()
    assert text.startswith("Fatal Python error: Segmentation fault\n")
    assert "src/server.py" in text


@pytest.mark.parametrize(
    ("settings", "server", "words"),
    [
        ("replica = 1", "", "value.py:4: no setting 'replica'"),
        ("", "import nowhere", "it imports nowhere, which is not installed"),
        (
            "",
            "from serving.api import Service\nclass S(Service):\n    def setup(self): 1 / 0",
            "setup failed: ZeroDivisionError",
        ),
        ('model_path = "model/none.onnx"', "", "none.onnx"),
    ],
)
def test_a_start_that_fails_ends_with_a_line_that_says_why(tmp_path: Path, settings: str, server: str, words: str) -> None:
    code, lines, text = ended(tmp_path, settings, server)
    last = lines[-1]
    assert (code, text) == (1, "")
    assert (last["level"], last["message"].startswith("the process ends: ")) == ("critical", True)
    assert words in last["message"]


def test_an_exception_that_nobody_foresaw_ends_it_with_a_line_and_its_traceback(tmp_path: Path) -> None:
    """The service's own class breaks a part of the platform while that is put together."""
    server = """
from serving.api import Service
from serving.web import admin

def broken(*told):
    raise RuntimeError("odd")

admin.Admin.__init__ = broken
class S(Service):
    pass
"""
    code, lines, text = ended(tmp_path, "", server)
    assert (code, text, lines[-1]["level"]) == (1, "", "critical")
    assert "unexpected: RuntimeError: odd" in lines[-1]["message"]
    assert lines[-1]["traceback"].endswith("RuntimeError: odd")


def test_an_exception_of_the_main_thread_is_a_line() -> None:
    program = """
from serving.telemetry import logs
logs.start({"service": "small"})
class Odd:
    def __del__(self):
        raise ValueError("in del")
Odd()
print("printed")
raise ValueError("two\\nlines")
"""
    done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True)
    first, last = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (1, "printed\n")
    assert first["traceback"].endswith("ValueError: in del")
    assert last["message"] == "the process ends: uncaught ValueError"
    assert last["traceback"].endswith("ValueError: two\nlines")
