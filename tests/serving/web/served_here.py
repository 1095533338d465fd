"""A service whose loop runs on a thread of the tests' process, so that a test can reach its parts."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from serving.main import _ports
from serving.service.loader import read_settings
from serving.telemetry.access_log import AccessLog
from serving.web import process
from serving.web.front.port import Port
from serving.web.process import ServiceContext
from tests.serving.web.request_cycles import loop_on_a_thread
from tests.waiting import until


@dataclass(frozen=True)
class ServedHere:
    """A ready service. thread: the loop's."""

    context: ServiceContext
    data: Port
    access: AccessLog
    thread: int


@contextlib.contextmanager
def served_here(folder: Path) -> Iterator[ServedHere]:
    """Serve a folder for the length of a block."""
    with loop_on_a_thread() as loop:
        settings = read_settings(folder)[0]
        context = process.build(folder, settings, loop, "")
        data, admin, access = _ports(context, loop, "127.0.0.1", 0, 0)
        if settings.model_path:
            context.models.load(settings.service_name, settings.model_path)
        context.service.setup()
        started: Future[int] = Future()

        def begin() -> None:
            context.gate.open()
            data.start()
            started.set_result(threading.get_ident())

        loop.call_soon_threadsafe(begin)
        try:
            yield ServedHere(context, data, access, started.result(20))
        finally:
            loop.call_soon_threadsafe(data.stop_listening)
            until(lambda: data._socket.fileno() < 0 and not data.connections and not data._opening)
            admin.stop_listening()
