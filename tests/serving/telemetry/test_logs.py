"""Each line of the log is one short JSON object, whatever is logged.

Every logger's lines reach stdout, and a stdout that nobody reads stops nothing.
"""

import json
import logging
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from serving.telemetry.logs import FIELD, LINE_BYTES, JsonFormatter, json_of, origin_of
from tests.running import PYTHONPATH, ROOT, Running, free_port, get

ENVIRONMENT = {
    "MONOPOD_SERVICE": "of the pod",
    "MONOPOD_USER": "of the pod",
    "MONOPOD_TRACK": "grey",
    "MONOPOD_REGION": "hk",
    "MONOPOD_VERSION": "4f7cb14",
    "MONOPOD_POD": "demo-5d9-x",
}
ORIGIN = origin_of(ENVIRONMENT, "demo", "like")


def line(message: str = "m", error: BaseException | None = None, **fields: Any) -> dict[str, Any]:
    """Log one record and return its line, parsed."""
    record = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, message, (), (type(error), error, None) if error else None)
    vars(record).update(fields)
    text = JsonFormatter(ORIGIN).format(record)
    assert "\n" not in text
    assert len(text.encode()) < LINE_BYTES
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_a_line_says_when_how_grave_who_and_what() -> None:
    found = line("3 rows of \u00e9")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert found == {"level": "warning", "logger": "a.b", "message": "3 rows of \u00e9", **ORIGIN}


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


@pytest.mark.parametrize("text", ["two\nlines", 'quotes " and \\', "\0\x1b[31m\u2028", "a \ud800 b", "\udcff", "x" * 2_000])
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
    for part in ("message", "traceback", "request_id", "trace_id", "route", "reason"):
        assert re.search(r"begin.* characters left out .*end$", found[part]), part


def test_a_line_says_of_which_pod_it_is() -> None:
    expected = {"service": "demo", "user": "like", "track": "grey", "region": "hk", "version": "4f7cb14", "pod": "demo-5d9-x"}
    assert expected == ORIGIN
    assert origin_of({**ENVIRONMENT, "MONOPOD_ARM": "canary"}, "demo", "like") == {**expected, "arm": "canary"}
    unread = origin_of(ENVIRONMENT)
    assert (unread["service"], unread["user"]) == ("of the pod", "of the pod")
    assert set(origin_of({}).values()) == {"", "dev"}


@pytest.mark.parametrize("character", ["x", "\x1b", "\u00e9", "\u4f60", "\U0001f600", '"', "\n", "\ud800"])
def test_a_line_of_any_alphabet_keeps_within_its_bytes_and_both_ends_of_each_part(character: str) -> None:
    long = f"begin{character * 100_000}end"
    found = line(long, ValueError(long), request_id=long, trace_id=long, route=long, reason=long)
    assert len(json.dumps(found, ensure_ascii=False).encode()) > LINE_BYTES / 4  # no more is left out than needed
    assert (found["message"][:5], found["message"][-3:]) == ("begin", "end")
    assert (found["traceback"][:17], found["traceback"][-3:]) == ("ValueError: begin", "end")
    assert "characters left out" in found["traceback"]


def test_a_line_with_nothing_long_is_not_cut() -> None:
    parts = {"message": "m" * 6_000, "traceback": "t" * 8_000, "reason": "r" * FIELD}
    assert json.loads(json_of(parts)) == parts


def test_the_length_of_a_line_has_a_bound_even_where_every_part_is_long() -> None:
    parts = {f"part {number}": "\x1b" * 100_000 for number in range(60)}
    assert len(json_of(parts).encode()) < LINE_BYTES


# Every source of log lines in a process: loggers and warnings. The lines of debug and of waitress.queue are left out.
PROGRAM = r"""
import logging, warnings
from serving.telemetry import logs
logging.basicConfig(level=logging.DEBUG, format="an earlier form: %(message)s")
logs.start({"service": "demo", "region": "hk"})
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


def test_what_waits_for_a_stdout_that_is_stuck_is_bounded_in_bytes() -> None:
    """800 MB of text are logged while nobody reads."""
    program = """
import logging, sys
from serving.telemetry import logs
from serving.base.process import peak_bytes
logs.start({"service": "demo", "region": "hk"})
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


def test_a_terminal_gets_lines_for_a_person_and_a_pod_gets_json_there_too() -> None:
    program = """
import logging
from serving.telemetry import logs
logs.start({})
try:
    raise ValueError("wrong")
except ValueError:
    logging.getLogger("x").exception("two\\nlines", extra={"code": 500, "milliseconds": 1.5, "request_id": "ab12"})
"""
    for environment in ({}, {"MONOPOD_POD": "demo-1"}):
        reader, writer = os.openpty()
        with os.fdopen(reader, "rb", 0) as terminal, os.fdopen(writer, "wb"):
            env = {"PYTHONPATH": str(ROOT / "src"), **environment}
            subprocess.run([sys.executable, "-c", program], env=env, stdout=writer, check=True, timeout=60)
            lines = terminal.read(60_000).decode().splitlines()
        if environment:
            assert json.loads(lines[0])["code"] == 500
            continue
        assert re.fullmatch(r"\d\d:\d\d:\d\d ERROR two\\nlines 500 1.5 ms ab12", lines[0])
        assert lines[1] == "Traceback (most recent call last):"
        assert lines[-1] == "ValueError: wrong"
