"""The relay as its pod runs it, under bodies that no Alertmanager sends: its memory, and how long a probe waits."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from serving.base.process import peak_bytes
from tests.relay.relays import Relay, notification
from tests.running import get

MAX_BODY_BYTES = 8 * 2**20
MEMORY_BYTES = 256 * 2**20  # the limit in charts/monitoring/templates/relay.yaml
ROOM = 0.75  # of the limit: a kernel also counts pages of files
PROBE_SECONDS = 3.0  # this machine may be busy; the readiness probe waits for 5

MANY_ALERTS = b'{"version":"4","alerts":[' + b'{"status":"firing"},' * 400_000 + b'{"status":"firing"}]}'
BODIES = {
    "alerts": MANY_ALERTS,
    "wide words": notification([{"status": "firing", "annotations": {"summary": "ab " * 2_600_000 + "\U0001f600"}}]),
    "a group of many labels": notification(groupLabels={str(number): "x" * 50 for number in range(100_000)}),
    "lists": b"[" + b"[]," * 2_600_000 + b"[]]",
    "fields": notification(unknown={f"{number:07}": "" for number in range(500_000)}),
    "as many fields as are read": notification(unknown={f"{number:07}": f"{number:012}" for number in range(249_000)}).replace(
        b"000000", "\U0001f600".encode(), 1
    ),
}


@contextmanager
def probed(relay: Relay) -> Iterator[list[float]]:
    """Ask for /healthz again and again during a block. At its end the list holds the seconds of each answer."""
    over, took = threading.Event(), list[float]()

    def probe() -> None:
        while not took or not over.wait(0.02):
            began = time.monotonic()
            assert get(f"{relay.url}/healthz")[0] == 200
            took.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(probe)
        try:
            yield took
        finally:
            over.set()
            probing.result()


def holds(relay: Relay, took: list[float]) -> None:
    assert peak_bytes(relay.process.pid) < ROOM * MEMORY_BYTES
    assert max(took) < PROBE_SECONDS


@pytest.mark.parametrize("kind", BODIES)
def test_a_large_body_of_any_kind_holds_up_no_probe_and_stays_within_the_memory(kind: str, relay: Relay) -> None:
    body = BODIES[kind][:MAX_BODY_BYTES]
    with probed(relay) as took:
        assert relay.post(body)[0] in (200, 400, 413)
    holds(relay, took)


def test_ten_large_bodies_at_once_are_each_answered_or_sent_again_within_the_memory(relay: Relay) -> None:
    with probed(relay) as took, ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(relay.post, [BODIES["wide words"]] * 10))
    assert {status for status, _ in answers} <= {200, 503}
    assert 200 in {status for status, _ in answers}
    assert relay.post(notification())[0] == 200
    holds(relay, took)


def test_forty_bodies_that_never_end_stay_within_the_memory(relay: Relay) -> None:
    head = b"POST /robot HTTP/1.1\r\nHost: relay\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    with probed(relay) as took, ExitStack() as stack:
        for _ in range(40):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", relay.port)))
            connection.sendall(head + b" " * (MAX_BODY_BYTES - 1))
    holds(relay, took)


def test_a_small_body_that_unpacks_to_a_large_one_is_refused_within_the_memory(relay: Relay) -> None:
    packed = gzip.compress(b" " * 2**26)
    with probed(relay) as took:
        status, _ = get(f"{relay.url}/robot", packed, {"Content-Encoding": "gzip"})
    assert status == 413
    holds(relay, took)
