"""Helpers of the tests of the registry and of the model cache: small models, requests, and threads that call."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from serving.base.lifetime import Lifetime
from serving.models.registry import ModelRegistry
from serving.models.tensors import Arrays, TensorSpec

PATIENCE = 100.0  # seconds; a busy machine loads models slowly
SIZE = 400_000  # bytes of a small model's file
X, Y = TensorSpec("x", "FP32", (-1, 2)), TensorSpec("y", "FP32", (-1, 2))


def lifetime() -> Lifetime:
    return Lifetime(time.monotonic(), PATIENCE)


@dataclass
class FakeRequest:
    """A request, of which a model needs its lifetime alone."""

    life: Lifetime = field(default_factory=lifetime)


def for_seconds(seconds: float) -> FakeRequest:
    return FakeRequest(Lifetime(time.monotonic(), seconds))


def x(rows: int = 1) -> Arrays:
    return {"x": np.ones((rows, 2), np.float32)}


def double(arrays: Arrays) -> Arrays:
    return {"y": arrays["x"] * 2}


class Gated:
    """A function that returns its rows. While `open` is cleared, it holds each batch."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Semaphore(0)
        self.open.set()

    def hold(self) -> None:
        """Hold each batch from now on, and forget those of the warm-up."""
        while self.entered.acquire(blocking=False):
            pass
        self.open.clear()

    def __call__(self, arrays: Arrays) -> Arrays:
        self.entered.release()
        assert self.open.wait(PATIENCE)
        return {"y": arrays["x"]}


MakeRegistry = Callable[..., ModelRegistry]


def on_demand(models: ModelRegistry, names: str) -> None:
    for name in names:
        models.on_demand(name, f"{name}.onnx")


def loaded(models: ModelRegistry) -> list[str]:
    return [model.spec.name for model in models.loaded()]


def ask(models: ModelRegistry, name: str, request: FakeRequest | None = None) -> float:
    return float(models[name](x(), request or FakeRequest())["y"][0, 0])


def hold(models: ModelRegistry, name: str, request: FakeRequest | None = None) -> tuple[threading.Event, Future[Arrays]]:
    """Hold a call of a model until the returned event is set."""
    release, entered = threading.Event(), threading.Event()
    model = models[name]._entry.model
    assert model is not None
    run = model.batcher._run_model

    def wait(instance: int, arrays: Arrays) -> Arrays:
        entered.set()
        assert release.wait(PATIENCE)
        return run(instance, arrays)

    model.batcher._run_model = wait
    future = models[name].submit(x(), request or FakeRequest())
    assert entered.wait(PATIENCE)
    return release, future
