"""Counts are read beside the driver: the newest finding is taken when it is there.

Knows when to read again, and for how long a step's first reading is tried. Does not know what a finding leads to.

Concurrency: one thread of its own reads, since a pod that hangs lets its reader wait for longer than it may keep its share. It
alone uses the judge, for one question at a time. It is given up at the end, and each of its questions ends by itself.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from conf.observe.prometheus import NoFigures
from conf.rollout.canary.judge import Finding, Judge
from conf.rollout.canary.state import Canary

WAIT_SECONDS = 0.2  # between two looks at whether counts have been read
BEGIN_SECONDS = 30.0  # in which a step's first reading is tried again, since pods restart and API servers have short failures


class CountsReader:
    """Reads counts for a driver. seconds: between two readings."""

    def __init__(self, judge: Judge, seconds: float):
        self._judge, self._seconds = judge, seconds
        self._thread = ThreadPoolExecutor(1, "canary-counts")
        self._asked: Future[Finding] | None = None
        self._at = float("-inf")

    def begin(self, canary: Canary, meanwhile: Callable[[], None]) -> Mapping[str, Mapping[str, float]]:
        """Return what each pod has counted now, and call `meanwhile` until that is known.

        Raises NoFigures where counts could not be read for BEGIN_SECONDS.
        """
        end = time.monotonic() + BEGIN_SECONDS
        while True:
            reading = self._thread.submit(self._judge.begin, canary)
            while not reading.done():
                meanwhile()
                time.sleep(WAIT_SECONDS)
            self._asked, self._at = None, time.monotonic()
            if not isinstance(reading.exception(), NoFigures) or self._at >= end:
                return reading.result()
            meanwhile()
            time.sleep(WAIT_SECONDS)

    def newest(self, canary: Canary, restarts: Mapping[str, int]) -> Finding | None:
        """Return a finding that was not returned before, None where there is none, and read again from time to time."""
        found = None
        if self._asked and self._asked.done():
            found, self._asked = self._asked.result(), None
        if not self._asked and time.monotonic() - self._at >= self._seconds:
            self._asked = self._thread.submit(self._judge.look, canary, dict(restarts), time.time())
            self._at = time.monotonic()
        return found

    def end(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
