"""The memory of `monopod offline` stays where it is while records go through it. docs/soak.md has the rule and its reasons."""

import time

import pytest

from bench.process import resident
from bench.soak import GROWTH_MB, RUNS, SAMPLE_SECONDS, growth
from tests.running import DIGITS, ROOT
from tests.serving.offline.offline_process import Case, Offline, running
from tests.waiting import until

PICTURE = (ROOT / "examples/images/chelsea.jpg").read_bytes()
VALUES: list[bytes | None] = [*[PICTURE] * 99, b"no picture"]  # the last one becomes a dead letter
PARTITIONS = 2
AHEAD = (
    2000  # records that wait at least, more than a pod fetches ahead: so all that may be full is full, on a slow machine too
)
RATE = 100  # records a second at most, so that the topic takes 1 GB of the broker's disk
SERVER = """
import numpy as np

from serving.api import Service

kept = []


class Looks(Service):
    pictures = True

    def preprocess(self, request):
        kept.append(b"x" * {keeps})
        pixels = np.asarray(request.image().convert("L").resize((8, 8)), dtype=np.float32)
        return {{"images": pixels[None, None] / 255}}
"""


def service(case: Case, keeps: int) -> None:
    """Write a service that keeps so many bytes of each record."""
    folder = case.service(f'model_path = "model/digits.onnx"\noffline_window = 100\noffline_rate = {RATE}')
    (folder / "model/digits.onnx").symlink_to(DIGITS)
    (folder / "src/server.py").write_text(SERVER.format(keeps=keeps))


class Feed:
    """Writes records, so that some always wait. done: how many the process has finished."""

    def __init__(self, case: Case, process: Offline):
        self._case, self._process, self._written = case, process, 0

    def done(self) -> int:
        counted = (f'monopod_offline_records_total{{outcome="{outcome}"}}' for outcome in ("answered", "dead"))
        return int(sum(map(self._process.metric, counted)))

    def more(self) -> None:
        while self._written - self.done() < AHEAD:
            self._case.produce(VALUES, self._written // len(VALUES) % PARTITIONS)
            self._written += len(VALUES)


def grows(feed: Feed, pid: int, seconds: float) -> float:
    """Return by how many MB a process grows from the second quarter of some seconds to the last."""
    samples, end = list[float](), time.monotonic() + seconds
    while time.monotonic() < end:
        feed.more()
        samples.append(resident(pid))
        time.sleep(SAMPLE_SECONDS)
    return growth(samples)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_process_that_is_always_behind_does_not_grow(case: Case) -> None:
    service(case, keeps=0)
    with running(case.folder, case.address) as process:
        feed = Feed(case, process)
        feed.more()
        until(lambda: feed.done() > RATE, 60)
        for _ in range(RUNS):  # a buffer that fills slowly comes to an end, and a leak does not
            grown = grows(feed, process.process.pid, 300)
            if grown <= GROWTH_MB:
                break
        assert grown <= GROWTH_MB
        assert process.stop() == 0


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_process_that_keeps_some_of_each_record_is_found(case: Case) -> None:
    service(case, keeps=32 * 1024)
    with running(case.folder, case.address) as process:
        feed = Feed(case, process)
        feed.more()
        until(lambda: feed.done() > RATE, 60)
        assert grows(feed, process.process.pid, 60) > GROWTH_MB
