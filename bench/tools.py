"""The load generators: wrk for a closed loop, our own for an open one."""

import contextlib
import json
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.served import BenchError
from bench.work import ROOT, Work

GENERATOR = ROOT / "bench" / "loadgen"
GO_PLACES = ("go", "/usr/local/go/bin/go", "/usr/lib/go/bin/go")
WAIT_SECONDS = 60  # beyond the time that a generator was told to run

SCRIPT = """
wrk.method, wrk.body = %(method)s, %(body)s
%(headers)s
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\\n{"requests":%%d,"seconds":%%f,"p50":%%f,"p99":%%f,"refused":%%d,"broken":%%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True)
class Closed:
    """The figures of a closed loop. Latencies in milliseconds. cpu: processor seconds of wrk itself."""

    rate: float
    p50: float
    p99: float
    cpu: float
    seconds: float


def missing() -> list[str]:
    """Return a sentence for each program that must be installed first."""
    words = []
    if shutil.which("wrk") is None:
        words.append("wrk is missing: install the Debian package wrk")
    if not (GENERATOR / "loadgen").is_file() and _go() is None:
        words.append("Go is missing, to build bench/loadgen: install the Debian package golang-go")
    return words


def build() -> Path:
    """Return the open loop's program, built if need be. Raises BenchError."""
    program, go = GENERATOR / "loadgen", _go()
    newest = max(source.stat().st_mtime for source in GENERATOR.glob("*.go"))
    if program.is_file() and (program.stat().st_mtime >= newest or go is None):
        return program
    if go is None:
        raise BenchError("; ".join(missing()))
    built = subprocess.run([go, "build", "-o", str(program), "."], cwd=GENERATOR, capture_output=True, text=True)
    if built.returncode:
        raise BenchError(f"bench/loadgen does not build:\n{built.stderr}")
    return program


def closed(url: str, work: Work | None, connections: int, seconds: int) -> Closed:
    """Load a server with as many requests at once as connections; without work, GET. Raises BenchError on any error.

    wrk gets one thread: it is fast enough, and a second one would take turns with the server.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with wrk(url, work, connections, seconds) as process:
        said, _ = process.communicate(timeout=seconds + WAIT_SECONDS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = json.loads(said.strip().rpartition("\n")[2] or "{}")
    if not figures.get("requests") or figures["refused"] or figures["broken"]:
        raise BenchError(f"{url}: not every answer was good: {figures}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Closed(figures["requests"] / figures["seconds"], figures["p50"], figures["p99"], cpu, figures["seconds"])


@contextlib.contextmanager
def wrk(url: str, work: Work | None, connections: int, seconds: int) -> Iterator["subprocess.Popen[str]"]:
    """Run wrk for the length of a block."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "wrk.lua")
        body.write_bytes(work.body if work else b"")
        script.write_text(_script(work, body))
        path = work.path if work else ""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url + path]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def open_loop(
    url: str, work: Work | None, rate: float, seconds: int, connections: int, opened: int = 0, turns: Sequence[bytes] = ()
) -> dict[str, Any]:
    """Send at a constant rate, and return the generator's report.

    connections: the most in-flight requests. turns: bodies that are sent in turns, instead of the work's own.
    """
    command = [str(build()), "-rate", str(rate), "-seconds", str(seconds)]
    command += ["-connections", str(connections), "-open", str(opened), "-url", url + (work.path if work else "")]
    with tempfile.TemporaryDirectory() as folder:
        if work:
            command += ["-content-type", work.content_type]
            for number, body in enumerate(turns or [work.body]):
                file = Path(folder, str(number))
                file.write_bytes(body)
                command += ["-body", str(file)]
            for name, value in work.headers.items():
                command += ["-header", f"{name}: {value}"]
        told = subprocess.run(command, stdout=subprocess.PIPE, timeout=seconds + WAIT_SECONDS, check=True)
    figures: dict[str, Any] = json.loads(told.stdout)
    return figures


def _go() -> str | None:
    return next((found for place in GO_PLACES if (found := shutil.which(place))), None)


def _script(work: Work | None, body: Path) -> str:
    if work is None:
        return SCRIPT % {"method": '"GET"', "body": "nil", "headers": ""}
    headers = {"Content-Type": work.content_type, **work.headers}
    lines = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    return SCRIPT % {"method": '"POST"', "body": f'io.open("{body}", "rb"):read("*a")', "headers": lines}
