"""Load on a service while it is changed: an open loop of `monopod bench` through the gateway, and its figures."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.running import PYTHONPATH
from tests.waiting import until

DIGIT = json.dumps({"data": [[[[0.5] * 8] * 8]]})
LARGE = 600_000  # bytes of a large body
AT_MOST_SECONDS = 7200
LOWEST_RATE = 50.0  # requests a second


class Load:
    """One run. figures: the output of `monopod bench --json`, once the run has ended."""

    def __init__(self, process: "subprocess.Popen[str]"):
        self._process = process
        self.figures: dict[str, Any] = {}

    def begin(self) -> None:
        """Wait until requests flow, which is when one connection is seen open twice. The first one is closed at once."""
        seen: set[int] = set()

        def stays() -> bool:
            assert self._process.poll() is None, self._process.communicate()
            before, now = set(seen), _ports(self._process.pid)
            seen.update(now)
            return bool(before & now)

        until(stays, pause=0.2)

    def end(self) -> None:
        """End the run after the requests that are due by now."""
        self._process.send_signal(signal.SIGINT)
        told, trouble = self._process.communicate(timeout=120)
        assert self._process.returncode == 130, trouble
        self.figures = json.loads(told)

    def lost(self) -> list[str]:
        """Return the failures in words: answers other than 200, missing answers, and requests that were not sent."""
        bad = [kind for kind in self.figures["kinds"] if kind["name"] != "200"]
        words = [f"{kind['count']} x {kind['name']} {kind['text']}".strip() for kind in bad]
        if self.figures["not_sent"]:
            words.append(f"{self.figures['not_sent']} not sent")
        if self.figures["unfinished"] > self.figures["load"]["rate"]:  # more than one second's requests, so they hang
            words.append(f"{self.figures['unfinished']} without an answer at the end")
        return words


def padded(folder: Path, size: int) -> Path:
    """Write a request that is as large as a photo: the JSON of a digit, and blanks. size: bytes."""
    file = folder / f"{size}.json"
    file.write_text(DIGIT.ljust(size))
    return file


def curl(url: str, file: Path, times: int, *words: str) -> "subprocess.Popen[str]":
    """Start curl, which sends a file's JSON to a URL a number of times and prints the status of each answer."""
    shown = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}\n", "--noproxy", "*"]
    sent = ["--header", "Content-Type: application/json", "--header", "Expect:", "--data-binary", f"@{file}"]
    return subprocess.Popen(["curl", *shown, *sent, *words, f"{url}?[1-{times}]"], stdout=subprocess.PIPE, text=True)


@contextmanager
def loaded(url: str, rate: float, file: Path | None = None, data: str = DIGIT) -> Iterator[Load]:
    """Send requests to a URL for the length of a block, which begins once they flow. rate: requests a second. data: JSON."""
    words = ["--rate", str(rate), "--seconds", str(AT_MOST_SECONDS), "--warm-up", "0"]
    load = Load(process := started(url, *words, data=f"@{file}" if file else data))
    try:
        load.begin()
        yield load
        load.end()
    finally:
        process.kill()
        process.communicate()  # also closes its pipes, where the block has failed


def peak(url: str, seconds: float) -> float:
    """Return how many requests a second a service answers with 16 requests in flight."""
    told, trouble = started(url, "--concurrency", "16", "--seconds", str(seconds)).communicate(timeout=seconds + 180)
    assert told, trouble
    return float(json.loads(told)["throughput"])


def quarter(url: str) -> float:
    """Return a quarter of the node's peak rate, in requests a second.

    At the peak, the node's two cores do nothing else. A pod that starts takes one of them. So half of the peak would fill the
    other one, and pods refuse what then waits.
    """
    return max(LOWEST_RATE, peak(url, 4) / 4)


def started(url: str, *words: str, data: str = DIGIT) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "monopod", "bench", "--url", url, "--data", data, "--timeout", "20", "--json", *words]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "NO_PROXY": "*"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _ports(process: int) -> set[int]:
    """Return the local ports of a process's open connections."""
    found = psutil.Process(process).net_connections("tcp")
    return {each.laddr.port for each in found if each.status == psutil.CONN_ESTABLISHED}
