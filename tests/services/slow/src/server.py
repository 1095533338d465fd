"""A model that sleeps, for tests of queues, deadlines and drains."""

import os
import threading
import time

import numpy as np

from serving.api import Arrays, Request, Service, TensorSpec, route

SECONDS = (TensorSpec("seconds", "FP32", (-1, 1)),)
SLEPT = (TensorSpec("slept", "FP32", (-1, 1)),)


class Slow(Service):
    """A model that sleeps, and counts its rows."""

    def setup(self) -> None:
        time.sleep(float(os.environ.get("SETUP_SECONDS", 0)))
        self.rows = 0
        self.naps: set[str] = set()
        self.woken = threading.Event()
        self.models.add("slow", self.work, SECONDS, SLEPT)
        self.models.add("other", lambda arrays: {"slept": arrays["seconds"]}, SECONDS, SLEPT, instances=1)

    def work(self, arrays: Arrays) -> Arrays:
        seconds = float(arrays["seconds"][0, 0])
        if seconds == -1:
            raise RuntimeError("the model broke")
        self.rows += len(arrays["seconds"])
        time.sleep(max(seconds, 0))
        return {"slept": arrays["seconds"][: 0 if seconds == -2 else None]}

    @route("/rows", "GET")
    def count(self, request: Request) -> int:
        """Rows that the model was given."""
        return self.rows

    @route("/nap", "GET")
    def nap(self, request: Request) -> None:
        """Waits without a model, until somebody wakes it."""
        self.naps.add(request.id)
        woken = self.woken.wait(request.life.left())
        self.naps.discard(request.id)
        assert woken

    @route("/naps")
    def count_naps(self, request: Request) -> int:
        """Naps that have begun and not ended."""
        return len(self.naps)

    @route("/wake")
    def wake(self, request: Request) -> None:
        """Ends all naps, and those that are still to begin."""
        self.woken.set()

    @route("/crash")
    def crash(self, request: Request) -> None:
        """Raises an unexpected error."""
        raise KeyError("secret detail")

    @route("/nan")
    def nan(self, request: Request) -> dict[str, object]:
        """Answers with a number that JSON cannot write."""
        return {"nan": float("nan"), "infinity": np.float32("inf"), "array": np.array([1.5, np.nan])}
