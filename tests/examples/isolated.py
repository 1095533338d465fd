"""Serves a service in a network namespace of its own that has only loopback, so that it can download nothing."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.prerequisites import missing
from tests.running import PYTHONPATH, ROOT

# A user who is not root also gets a user namespace, in which they are root.
UNSHARE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
CANNOT = "no network namespace can be made here: run the tests as root, or allow user namespaces to others"


@dataclass
class Isolated:
    """A served example. Its ports are 8080 and 8081, which are free in its namespace."""

    folder: Path
    pid: int
    log: Path

    def run(self, line: str, where: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        """Run a shell line in the namespace."""
        command = ["nsenter", "--target", str(self.pid), "--net", *([] if os.geteuid() == 0 else ["--user"])]
        command += ["bash", "-c", line]
        return subprocess.run(command, cwd=where, capture_output=True, text=True, errors="replace", timeout=60)


@contextlib.contextmanager
def isolated(folder: Path, env: dict[str, str]) -> Iterator[Isolated]:
    """Serve a folder for the length of a block, without a network."""
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        missing(CANNOT)
    log = Path(tempfile.mkstemp(suffix=".log")[1])
    serve = [sys.executable, "-m", "monopod", "serve", "--service", str(folder)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*UNSHARE, "sh", "-c", 'ip link set lo up && exec "$0" "$@"', *serve],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env, "PYTHONPATH": PYTHONPATH},
            start_new_session=True,
        )
    service = Isolated(folder, process.pid, log)
    try:
        _wait_ready(service, process)
        yield service
    finally:
        process.kill()
        process.wait(30)
        log.unlink()


def _wait_ready(service: Isolated, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 60
    while service.run("curl -sf localhost:8081/readyz").returncode:
        assert process.poll() is None, service.log.read_text()
        assert time.monotonic() < end, service.log.read_text()
        time.sleep(0.1)
