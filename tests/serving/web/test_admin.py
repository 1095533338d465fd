"""The admin port's pages say whether the process is to be restarted, may be sent requests, and what it counts."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.core.stages import WorkerThreads
from serving.web.admin import Admin
from serving.web.admission import CLOSED, DRAINING, STARTING, Gate
from serving.web.front.request_cycle import RequestCycle
from tests.running import get, make_service, running
from tests.serving.web.request_cycles import Front, kept, loop_on_a_thread
from tests.waiting import until

STUCK_AFTER, TIMEOUT = 10.0, 5.0


def fine() -> bytes:
    return b"metric 1\n"


def broken() -> bytes:
    raise ValueError("secret detail")


class Pages:
    """The pages of a pod, whose state a test sets."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.batch_seconds, self.hook_seconds, self.page = 0.0, 0.0, fine
        batcher = SimpleNamespace(stuck_seconds=lambda: self.batch_seconds)
        models: Any = SimpleNamespace(loaded=lambda: [SimpleNamespace(batcher=batcher, spec=SimpleNamespace(name="m"))])
        self.pod = Gate(1, lambda: False)
        self.pod.open()
        self.also_stuck = ""
        told = (lambda: self.hook_seconds, lambda: self.page(), STUCK_AFTER, TIMEOUT)
        self.front = Front(loop, Admin(self.pod, models, *told, WorkerThreads(1, "metrics"), lambda: self.also_stuck).run)

    def ask(self, path: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
        """Return the status and the body of a page."""
        cycle = self.front.cycle(b"%s %s HTTP/1.1\r\nHost: x\r\n" % (method, path))
        self.front.loop.call_soon_threadsafe(cycle.run, b"", True)
        client = kept(cycle)
        until(lambda: bool(client.answers), 5, pause=0.002)
        return client.status, client.answers[0].partition(b"\r\n\r\n")[2]


@pytest.fixture
def pages() -> Iterator[Pages]:
    with loop_on_a_thread() as loop:
        yield Pages(loop)


@pytest.mark.parametrize("path", [b"/livez", b"/livez?verbose", b"/readyz"])
def test_a_pod_that_is_well_is_alive_and_ready(pages: Pages, path: bytes) -> None:
    assert pages.ask(path) == (200, b"ok\n")


@pytest.mark.parametrize("state", [STARTING, DRAINING, CLOSED])
def test_a_pod_that_is_not_ready_says_why_and_is_alive(pages: Pages, state: str) -> None:
    pages.pod.state = state
    assert pages.ask(b"/readyz") == (503, state.encode() + b"\n")
    assert pages.ask(b"/livez")[0] == 200


def test_a_further_part_of_the_process_that_hangs_is_named(pages: Pages) -> None:
    pages.also_stuck = "the source's thread has done nothing for 61 s"
    assert pages.ask(b"/livez") == (503, b"the source's thread has done nothing for 61 s\n")
    assert pages.ask(b"/readyz")[0] == 200


def test_a_batch_that_hangs_is_named(pages: Pages) -> None:
    pages.batch_seconds = STUCK_AFTER
    assert pages.ask(b"/livez")[0] == 200
    pages.batch_seconds = STUCK_AFTER + 1
    assert pages.ask(b"/livez") == (503, b"model m: a batch has been running for 11 s, over stuck_after_second\n")
    assert pages.ask(b"/readyz")[0] == 200


def test_a_hook_that_hangs_is_named_once_no_request_can_wait_for_it(pages: Pages) -> None:
    pages.hook_seconds = STUCK_AFTER + TIMEOUT
    assert pages.ask(b"/livez")[0] == 200
    pages.hook_seconds += 1
    status, text = pages.ask(b"/livez")
    assert (status, b"own code has been at one request for 16 s" in text) == (503, True)


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS"])
def test_only_reading_methods_are_taken(pages: Pages, method: bytes) -> None:
    assert pages.ask(b"/livez", method)[0] == 405


def test_head_gets_a_head_alone(pages: Pages) -> None:
    assert pages.ask(b"/livez", b"HEAD") == (200, b"")


@pytest.mark.parametrize("path", [b"/", b"/livez/", b"/metrics/x", b"/api/small"])
def test_another_path_is_told_the_pages(pages: Pages, path: bytes) -> None:
    status, text = pages.ask(path)
    assert (status, b"/livez, /readyz, /metrics" in text) == (404, True)


def test_the_metrics_page_comes_from_its_thread(pages: Pages) -> None:
    assert pages.ask(b"/metrics") == (200, b"metric 1\n")


def test_a_metric_that_raises_is_a_500_at_once_and_the_next_reading_is_good(
    pages: Pages, caplog: pytest.LogCaptureFixture
) -> None:
    pages.page = broken
    status, text = pages.ask(b"/metrics")
    assert (status, b"secret" in text) == (500, False)
    until(lambda: any("secret detail" in str(record.exc_info) for record in caplog.records))  # logged after the answer
    pages.page = fine
    assert pages.ask(b"/metrics")[0] == 200


def test_a_served_pod_has_all_pages_on_its_admin_port_alone(tmp_path: Path) -> None:
    server = "from serving.api import Service\nclass Own(Service):\n    def handle(self, request): return 1\n"
    with running(make_service(tmp_path / "small", "", server)) as service:
        assert get(service.admin + "/livez") == (200, b"ok\n")
        assert get(service.admin + "/readyz") == (200, b"ok\n")
        assert get(service.admin + "/api/ping")[0] == 200
        assert b"monopod_ready 1.0\n" in get(service.admin + "/metrics")[1]
        assert [get(service.url + path)[0] for path in ("/livez", "/readyz", "/metrics")] == [404] * 3


def test_a_request_to_the_admin_port_is_answered_once(pages: Pages) -> None:
    cycle: RequestCycle = pages.front.cycle(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
    pages.front.loop.call_soon_threadsafe(cycle.run, b"", True)
    pages.front.loop.call_soon_threadsafe(cycle.abandon)
    assert pages.ask(b"/metrics")[0] == 200
    assert kept(cycle).answers == []
