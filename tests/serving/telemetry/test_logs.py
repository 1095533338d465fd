"""Every logger's lines reach stdout, and a stdout that nobody reads stops nothing."""

import json
import os
import re
import subprocess
import sys

from tests.running import PYTHONPATH, ROOT, Running, free_port, get

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
from serving.base.process_memory import peak_bytes
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
