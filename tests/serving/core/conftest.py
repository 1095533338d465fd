"""A loop on a thread of its own, on which a core is asked."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from serving.base.errors import ServingError
from serving.base.lifetime import Lifetime
from serving.core.messages import RawRequest, Reply, Result, StageTimes
from serving.core.stages import Core, Decode
from serving.models.registry import ModelRegistry
from serving.service.loader import read_settings, service_class
from serving.telemetry.metrics import Metrics

JSON = "application/json"
Clock = Callable[[], float]


@dataclass(eq=False)
class SmallRequest:
    """A request whose body is in memory."""

    body: bytes
    life: Lifetime
    times: StageTimes
    content_type: str = JSON
    id: str = "id"

    def __post_init__(self) -> None:
        self.kind, self.length = self.content_type, len(self.body)

    def read(self) -> bytes:
        return self.body

    def parameters(self) -> Mapping[str, str]:
        return {}


class AskedCore:
    """A core whose loop runs, and its service. Any thread may ask it."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop, clock: Clock = time.monotonic):
        settings = read_settings(folder)[0]
        metrics = Metrics()
        self.loop, self.clock, self.began = loop, clock, 0.0
        self.models = ModelRegistry(folder, settings, metrics, loop=loop, clock=clock)
        self.service = service_class(folder)(settings, self.models, metrics, folder)
        if settings.model_path:
            self.models.load(settings.service_name, settings.model_path)
        self.core = Core(self.service, 4, loop)

    def request(self, body: bytes, kind: str = JSON, seconds: float = 20.0) -> RawRequest:
        """Return a request whose last byte has just come."""
        self.began = self.clock()
        raw = SmallRequest(body, Lifetime(time.monotonic(), seconds), StageTimes(self.began, self.clock), kind)
        raw.times.begin("queue")
        return raw

    def answer(self, raw: RawRequest) -> "Future[Reply]":
        """Ask the service's own route."""
        return self._ask(partial(self.core.answer, raw))

    def infer(self, name: str, raw: RawRequest, decode: Decode) -> "Future[Reply]":
        """Ask a model."""
        return self._ask(partial(self.core.infer, self.models[name], raw, decode))

    def _ask(self, ask: Callable[[Callable[[Result], None]], None]) -> "Future[Reply]":
        answered: Future[Reply] = Future()

        def done(result: Result) -> None:
            assert threading.current_thread() is not threading.main_thread(), "answers are given on the loop"
            if isinstance(result, ServingError):
                answered.set_exception(result)
            else:
                answered.set_result(result)

        self.loop.call_soon_threadsafe(ask, done)
        return answered


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join(20)
    made.close()
