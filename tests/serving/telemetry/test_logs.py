"""Each line of the log is one JSON object, whatever is logged."""

import json
import logging
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from serving.telemetry.logs import _JsonFormatter
from tests.running import PYTHONPATH, ROOT, Running, free_port, get

# Every source of log lines in a process: loggers and warnings. The lines of debug and of waitress.queue are left out.
PROGRAM = r"""
import logging, warnings
from serving.telemetry import logs
logging.basicConfig(level=logging.DEBUG, format="an earlier form: %(message)s")
logs.start("demo", "hk")
logging.getLogger("monopod.x").warning("%d rows of %s", 3, "\u00e9")
logging.getLogger("x").debug("details")
logging.getLogger("waitress.queue").warning("Task queue depth is 1")
logging.getLogger("waitress").error("broken \ud800")
warnings.warn("old thing")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("x").exception("failed")
"""


def line(message: str = "m", error: BaseException | None = None, **fields: Any) -> dict[str, Any]:
    """Log one record and return its line, parsed."""
    record = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, message, (), (type(error), error, None) if error else None)
    vars(record).update(fields)
    text = _JsonFormatter("demo", "hk").format(record)
    assert "\n" not in text
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_a_line_says_when_how_grave_who_and_what() -> None:
    found = line("3 rows of \u00e9")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert found == {"level": "warning", "logger": "a.b", "message": "3 rows of \u00e9", "service": "demo", "region": "hk"}


def test_the_time_is_utc() -> None:
    assert line(created=1_700_000_000.25, msecs=250.0)["time"] == "2023-11-14T22:13:20.250Z"


def test_the_fields_of_a_request_stand_beside_it() -> None:
    fields: dict[str, Any] = {
        "request_id": "r",
        "trace_id": "t",
        "route": "/api/demo",
        "code": 200,
        "reason": "",
        "milliseconds": 1.5,
    }
    found = line(**fields, other=object())
    assert {name: found[name] for name in fields} == fields
    assert "other" not in found


def test_a_traceback_stays_on_the_line() -> None:
    assert line(error=ValueError("two\nlines"))["traceback"] == "ValueError: two\nlines"


@pytest.mark.parametrize("text", ["two\nlines", 'quotes " and \\', "\0\x1b[31m\u2028", "a \ud800 b", "\udcff", "x" * 8_000])
def test_any_text_is_one_line(text: str) -> None:
    kept = text.encode("utf-8", "backslashreplace").decode()
    assert line(text)["message"] == kept
    assert line(error=ValueError(text))["traceback"] == f"ValueError: {kept}"


@pytest.mark.parametrize("value", [b"bytes", 2**70, {1, 2}, object, "\ud800", float("nan")])
def test_a_field_that_json_cannot_hold_loses_no_line(value: Any) -> None:
    assert line("answered", request_id=value)["message"] == "answered"


def test_every_part_of_a_line_is_bounded_and_says_what_is_left_out() -> None:
    long = "begin" + "x" * 1_000_000 + "end"
    found = line(long, error=ValueError(long), request_id=long, trace_id=long, route=long, reason=long)
    assert len(json.dumps(found)) < 30_000
    for part in ("message", "traceback", "request_id", "trace_id", "route", "reason"):
        assert re.search(r"begin.* characters left out .*end$", found[part]), part


def test_what_waits_for_a_stdout_that_is_stuck_is_bounded_in_bytes() -> None:
    """800 MB of text are logged while nobody reads."""
    program = """
import logging, sys
from serving.telemetry import logs
from serving.base.process_memory import peak_bytes
logs.start("demo", "hk")
logging.getLogger("x").warning("first")
before = peak_bytes()
for number in range(800):
    try:
        raise ValueError(f"{number}" + "y" * 500_000)
    except ValueError:
        logging.getLogger("x").exception("x" * 500_000)
print((peak_bytes() - before) // 2**20, file=sys.stderr, flush=True)
"""
    environment = {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=-1, stderr=-1, text=True) as process:
        assert process.stderr
        assert process.stdout
        assert int(process.stderr.readline()) <= 20  # MiB: the bound is 8, and a line is made from strings of half a megabyte
        assert json.loads(process.stdout.readline())["message"] == "first"


def test_every_line_of_a_process_goes_to_stdout_as_json() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert [found["message"].splitlines()[0].split(": ")[-1] for found in lines] == [
        "3 rows of \u00e9",
        "broken \\ud800",
        "old thing",
        "failed",
    ]
    assert all(found["service"] == "demo" and found["region"] == "hk" for found in lines)
    assert lines[3]["traceback"].endswith("ZeroDivisionError: division by zero")


def test_a_stdout_that_nobody_reads_stops_neither_answers_nor_the_end() -> None:
    port, admin_port = free_port(), free_port()
    command = [sys.executable, "-m", "monopod", "serve", "--service", str(ROOT / "tests/services/slow"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--admin-port", str(admin_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": PYTHONPATH}) as process:
        service = Running(process, port, admin_port, ROOT)
        service.wait_ready()
        path = "/" + "x" * 190  # a pipe holds 64 KiB, less than these lines
        assert {get(service.url + path)[0] for _ in range(400)} == {404}
        assert service.stop() == 0
