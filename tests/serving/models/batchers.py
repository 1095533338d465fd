"""Helpers of the tests of the batcher: models that a test can hold, and calls."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from serving.base.errors import BadInput
from serving.base.lifetime import Lifetime
from serving.models.batcher import Batcher
from serving.models.tensors import Arrays

PATIENCE = 60.0  # seconds for which a test waits for a thread
MakeBatcher = Callable[..., Batcher]


class Held:
    """A model that doubles its rows. Each batch waits until the test lets it go on."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.entered, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, instance: int, arrays: Arrays) -> Arrays:
        self.batches.append(arrays["x"].ravel().tolist())
        self.entered.release()
        assert self.go.acquire(timeout=PATIENCE)
        return {"y": arrays["x"] * 2}

    def wait(self) -> None:
        """Wait until one more batch runs."""
        assert self.entered.acquire(timeout=PATIENCE)

    def free(self) -> None:
        """Hold no batch any more."""
        self.go.release(1000)


def double(instance: int, arrays: Arrays) -> Arrays:
    return {"y": arrays["x"] * 2}


def picky(instance: int, arrays: Arrays) -> Arrays:
    if (arrays["x"] < 0).any():
        raise BadInput(f"negative: {arrays['x'].min():g}")
    return {"y": arrays["x"] * 2}


def rows(*values: float) -> Arrays:
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


def busy(make: MakeBatcher, run: Any = None, model: Held | None = None, **options: Any) -> tuple[Held, Batcher, Future[Arrays]]:
    """Return a model, its batcher, and a call of the value 0, which runs until the model is freed. run: uses the model."""
    model = model or Held()
    batcher = make(run or model, **options)
    running = call(batcher, 0)
    model.wait()
    return model, batcher, running


def life(seconds: float = PATIENCE) -> Lifetime:
    return Lifetime(time.monotonic(), seconds)


def answer(future: Future[Arrays]) -> list[float]:
    values: list[float] = future.result(PATIENCE)["y"].ravel().tolist()
    return values


def call(batcher: Batcher, *values: float, lives: Lifetime | None = None) -> Future[Arrays]:
    return batcher.submit(rows(*values), len(values), lives or life())
