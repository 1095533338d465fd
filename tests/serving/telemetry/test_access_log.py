"""Access lines are those that Python's logging would write, in bulk, bounded, and none is lost at the end."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from serving.telemetry import access_log, logs
from serving.telemetry.access_log import MAX_LINES, AccessLog, Line
from serving.telemetry.logs import MAX_WAITING, JsonFormatter
from tests.running import ROOT
from tests.threads import in_threads

ORIGIN = {"service": "demo", "region": "hk"}
PLAIN: Line = (1_700_000_000.25, "POST", "/api/demo", "r-1", "service", 200, 1.23456, "", "")
PROGRAM = """
import logging, sys
from serving.telemetry import logs
from serving.telemetry.access_log import AccessLog
logs.start({"service": "demo", "region": "hk"})
lines = AccessLog()
"""


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Return a list that gets what the writer would get: lines and their size."""
    found: list[tuple[str, int]] = []
    monkeypatch.setattr(logs, "write_later", lambda make, size: found.append((make(ORIGIN), size)))
    logger = logging.getLogger("monopod.access")
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    yield found
    logger.manager._clear_cache()  # type: ignore[attr-defined]


def logged(line: Line) -> str:
    """Return a line as Python's logging writes it."""
    at, method, path, request_id, route, code, milliseconds, reason, trace_id = line
    assert isinstance(method, str)
    assert isinstance(path, str)
    record = logging.LogRecord("monopod.access", logging.INFO, "app.py", 1, "%s %s", (method[:20], path[:200]), None)
    record.created, record.msecs = at, int((at - int(at)) * 1000) + 0.0
    extra: dict[str, Any] = {"request_id": request_id, "route": route, "code": code, "milliseconds": round(milliseconds, 2)}
    extra.update({"reason": reason} if reason else {}, **({"trace_id": trace_id} if trace_id else {}))
    vars(record).update(extra)
    return JsonFormatter(ORIGIN).format(record)


def ended(program: str) -> list[Any]:
    """Run a program with an access log, and return its lines."""
    command = [sys.executable, "-c", PROGRAM + program]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(text) for text in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "line",
    [
        PLAIN,
        (1_700_000_000.9996, "GET", "/v2", "r", "refused", 429, 0.005, "queue_full", "0af7651916cd43dd8448eb211c80319c"),
        (0.0, "M" * 50, "/" + "x" * 500, "r" * 400, "e" * 400, 499, 60_000, "w" * 400, "t" * 400),
        (1e9, "GET", '/two\nlines/"\\/\u2028/\u00e9/\U0001f600', "a/\u00e9", "none", 404, 2.675, "not_found", ""),
    ],
)
def test_a_line_is_what_logging_would_write(line: Line) -> None:
    assert access_log.written([line, PLAIN], ORIGIN) == f"{logged(line)}\n{logged(PLAIN)}"


def test_an_id_that_is_not_unicode_is_written_with_its_escape() -> None:
    line = access_log.written([(1e9, "GET", "/", "a\ud800b", "none", 404, 2.5, "not_found", "")], ORIGIN)
    assert (json.loads(line)["request_id"], json.loads(line)["code"]) == ("a\\ud800b", 404)


def test_lines_of_one_path_and_end_keep_their_own_times_and_ids() -> None:
    lines = [(1e9 + number, "GET", "/", f"r{number}", "none", 404, float(number), "", "") for number in range(3)]
    found = [json.loads(text) for text in access_log.written(lines, ORIGIN).splitlines()]
    assert [(each["request_id"], each["milliseconds"], each["time"][17:19]) for each in found] == [
        ("r0", 0.0, "40"), ("r1", 1.0, "41"), ("r2", 2.0, "42"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/api/demo", "/api/demo"),
        (b"/a%20b/%C3%A9/%ff/%zz", "/a b/\u00e9/\ufffd/%zz"),
        (b"//host/x", "/host/x"),
        (b"/" + b"%F0%9F%98%80" * 300, "/" + "\U0001f600" * 199),
        (b"/\xff", "/\ufffd"),
    ],
)
def test_bytes_are_shown_as_flask_shows_them(path: bytes, shown: str, handed: list[tuple[str, int]]) -> None:
    lines = AccessLog()
    lines.note(1e9, b"GET", path, "r", "none", 404, 1.0)
    lines.flush()
    assert json.loads(handed[0][0])["message"] == f"GET {shown}"


def test_lines_are_handed_over_together_and_in_order(handed: list[tuple[str, int]]) -> None:
    lines = AccessLog()
    for number in range(MAX_LINES + 3):
        lines.note(1e9, "GET", "/", str(number), "none", 404, 1.0)
    assert len(handed) == 1  # no more than MAX_LINES wait for a flush
    lines.flush()
    lines.flush()
    found = [[json.loads(text)["request_id"] for text in each.splitlines()] for each, _ in handed]
    assert [len(each) for each in found] == [MAX_LINES, 3]
    assert sum(found, []) == [str(number) for number in range(MAX_LINES + 3)]


def test_the_size_of_lines_is_about_the_memory_that_they_take(handed: list[tuple[str, int]]) -> None:
    lines = AccessLog()
    lines.note(1e9, "GET", "/" + "x" * 100_000, "r" * 100, "none", 404, 1.0)
    lines.flush()
    assert 2_500 < handed[0][1] < 3_500  # the path is cut


def test_threads_lose_no_line(handed: list[tuple[str, int]]) -> None:
    lines = AccessLog()

    def note(thread: int) -> None:
        for number in range(5_000):
            lines.note(1e9, "GET", "/", str(number + 5_000 * thread), "none", 404, 1.0)

    in_threads(4, note)
    lines.flush()
    found = sorted(int(json.loads(text)["request_id"]) for each, _ in handed for text in each.splitlines())
    assert found == list(range(20_000))


@pytest.mark.parametrize("end", ["", "logs.stop()\n", "lines.flush()\n", "logs.stop()\nlogs.start({})\n"])
def test_the_end_of_a_process_writes_what_was_noted_before(end: str) -> None:
    note = "lines.note(1.5, b'POST', b'/api/demo', str(number), 'service', 200, 1.25)"
    found = ended(f"for number in range(1000):\n    {note}\n{end}")
    assert [line["request_id"] for line in found] == [str(number) for number in range(1000)]
    assert found[0] == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "logger": "monopod.access",
        "message": "POST /api/demo",
        "service": "demo",
        "region": "hk",
        "request_id": "0",
        "route": "service",
        "code": 200,
        "milliseconds": 1.25,
    }


def test_no_line_is_written_above_its_level() -> None:
    program = """
lines.note(1.5, "GET", "/", "first", "none", 404, 1.0)
lines.flush()
logging.getLogger("monopod.access").setLevel(logging.WARNING)
lines.note(1.5, "GET", "/", "second", "none", 404, 1.0)
lines.flush()
logging.getLogger("monopod").info("other")
"""
    assert [line.get("request_id", line["message"]) for line in ended(program)] == ["first", "other"]


def test_lines_that_cannot_be_made_stop_no_later_line() -> None:
    program = """
lines.note(1.5, "GET", "/", "r", "none", 404, "no number")
lines.flush()
logging.getLogger("monopod").info("other")
"""
    assert [line["message"] for line in ended(program)] == ["other"]


def test_what_waits_for_a_stdout_that_is_stuck_is_bounded_and_whole() -> None:
    """400,000 lines are noted while nobody reads. Read at last, each line is whole, and the number fits the bound."""
    program = """
from serving.base.process import peak_bytes
lines.note(1.5, "GET", "/", "first", "none", 404, 1.0)
lines.flush()
before = peak_bytes()
for number in range(400_000):
    lines.note(1.5, "GET", f"/{number}" + "x" * 300, f"{number:032x}", "none", 404, 1.0)
print((peak_bytes() - before) // 2**20, file=sys.stderr, flush=True)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM + program], env=environment, stdout=-1, stderr=-1, text=True
    ) as process:
        assert process.stderr
        assert process.stdout
        assert int(process.stderr.readline()) <= 16  # MiB
        found = [json.loads(text)["request_id"] for text in process.stdout]
    assert found[0] == "first"
    assert MAX_LINES <= len(found) < MAX_WAITING // 400
    assert found[1 : MAX_LINES + 1] == [f"{number:032x}" for number in range(MAX_LINES)]
