"""Floods a service from one thread, and probes both of its ports meanwhile from another.

Concurrency. `flooding` and `probing` have a thread each for the length of a block. The thread alone touches its sockets. An
event ends it, or a stop of the machine's clock: each wait is bounded.
"""

import contextlib
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.process import cpu
from tests.running import Running, get
from tests.waiting import until

PROBE_SECONDS = 5.0  # the timeout of Kubernetes' probes
MAX_SECONDS = 1.0  # of any probe but the slowest, and USUAL_SECONDS of most: see Probes.held
USUAL_SECONDS = 0.3
MIN_PROBES = 12
UNSENT_BYTES = 64 * 2**10  # that the system keeps of a connection; with megabytes of each, it would run out of memory for TCP
PAUSE = 0.02


@dataclass
class Probes:
    """The probes so far.

    waits: seconds until each answer. held: of these, seconds of processor time that the service used at most. On a shared
    machine a client may also wait for the work of others. Where the machine itself stands still, that counts as the service's
    time, so the slowest probe is left out of what is checked of these.
    """

    waits: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)

    def check(self) -> None:
        """Check that none was slow."""
        assert max(self.waits) < PROBE_SECONDS, f"a probe waited {max(self.waits):.1f} s"
        long = sorted(self.held)[-2]
        assert long < MAX_SECONDS, f"the service computed for {long:.1f} s and more before it answered two probes"
        usual = statistics.median(self.held)
        assert usual < USUAL_SECONDS, f"the service computed for {usual:.2f} s before it answered half of the probes"


@contextlib.contextmanager
def probing(service: Running) -> Iterator[Probes]:
    """Probe both ports in turn for the length of a block, and check after it that each probe was answered soon with 200."""
    found, over, failures = Probes(), threading.Event(), list[str]()
    urls = [service.url + "/api/ping", service.admin + "/api/ping", service.admin + "/livez"]

    def probe() -> None:
        while not over.is_set():
            for url in urls:
                began, before = time.monotonic(), cpu(service.process.pid).total
                try:
                    status = get(url)[0]
                    failures.extend([] if status == 200 else [f"{url} answered {status}"])
                except OSError as error:
                    failures.append(f"{url}: {error!r}")
                found.waits.append(time.monotonic() - began)
                found.held.append(min(found.waits[-1], cpu(service.process.pid).total - before))
            over.wait(PAUSE)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield found
        until(lambda: len(found.held) >= MIN_PROBES or bool(failures), seconds=60)
    finally:
        over.set()
        thread.join(60)
    assert not failures, failures[:5]
    found.check()


@dataclass
class Flood:
    """The bytes that each of some connections sends.

    first: sent once, and then `again` without an end. reads: whether the answers are read.
    """

    connections: int
    first: bytes
    again: bytes
    reads: bool = True
    sent: int = 0  # bytes, of all connections together
    ended: int = 0  # connections that the server closed or refused; each is opened again


class _Sender:
    """One connection of a flood."""

    def __init__(self, port: int, flood: Flood):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
        self.socket.setblocking(False)
        self._flood, self._rest = flood, memoryview(flood.first + flood.again)

    def go_on(self, events: int) -> None:
        """Send and read what is possible now. Raises OSError when the connection is at its end."""
        if events & selectors.EVENT_WRITE:
            count = self.socket.send(self._rest)
            self._flood.sent += count
            self._rest = self._rest[count:] or memoryview(self._flood.again)
        if events & selectors.EVENT_READ and not self.socket.recv(2**20):
            raise ConnectionResetError


@contextlib.contextmanager
def flooding(service: Running, flood: Flood) -> Iterator[None]:
    """Send it for the length of a block."""
    over, selector = threading.Event(), selectors.DefaultSelector()
    events = selectors.EVENT_WRITE | (selectors.EVENT_READ if flood.reads else 0)

    def begin() -> None:
        with contextlib.suppress(OSError):  # the service may refuse connections
            sender = _Sender(service.port, flood)
            selector.register(sender.socket, events, sender)

    def send() -> None:
        while not over.is_set():
            ready = selector.select(0.1)
            for key, mask in ready:
                try:
                    key.data.go_on(mask)
                except BlockingIOError:
                    pass
                except OSError:
                    flood.ended += 1
                    selector.unregister(key.data.socket)
                    key.data.socket.close()
                    begin()

    for _ in range(flood.connections):
        begin()
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)
        for key in list(selector.get_map().values()):
            key.data.socket.close()
        selector.close()
