"""Serving and draining: after a signal the process ends without losing an accepted request.

The steps after SIGTERM. First readiness goes off, and for the drain delay every request is served, with Connection: close.
Then the port closes, and for a moment open connections may still send requests. Accepted requests are finished, and the process
exits.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable

from serving.web.admission import CLOSED, Gate
from serving.web.front.port import Port

log = logging.getLogger("monopod.drain")

LATE_SECONDS = 0.5  # to accept the connections that were made just before the port refuses new ones
NEXT_REQUEST_SECONDS = 3.0  # that an idle connection has for its next request, once the port is closed
LOOK_SECONDS = 0.02


class End:
    """The reason to end, once there is one: a signal's number, or the words of a start that failed."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.signal, self.failure = 0, ""
        self._come = asyncio.Event()
        self._loop = loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._note, number)

    async def wait(self) -> None:
        """Wait until there is a reason."""
        await self._come.wait()

    def fail(self, words: str) -> None:
        """Note that the start failed. Any thread may call it."""
        self.failure = words
        self._loop.call_soon_threadsafe(self._come.set)

    def _note(self, number: int) -> None:
        if self.signal and number == signal.SIGINT:
            os._exit(128 + number)  # a second Ctrl-C ends the process at once
        self.signal = self.signal or number
        self._come.set()


async def run(port: Port, gate: Gate, end: End, delay: float, longest: float) -> bool:
    """Serve until there is a reason to end, then drain. Return whether every accepted request was finished.

    The port closes delay seconds after SIGTERM, but at once after Ctrl-C, and where the pod was never ready. After longest
    seconds unfinished requests are given up, and answers that their clients have not taken.
    """
    await end.wait()
    gently = gate.drain() and end.signal != signal.SIGINT
    delay, late, grace = (delay, LATE_SECONDS, NEXT_REQUEST_SECONDS) if gently else (0.0, 0.0, 0.0)
    if end.signal:
        log.info("signal %d: draining for %g s", end.signal, delay)
    await asyncio.sleep(delay)
    port.turn_away()
    await asyncio.sleep(late)
    port.stop_listening()
    await _until(lambda: port.idle(grace) and port.quiet(), grace)
    gate.state = CLOSED
    finished = await _until(lambda: gate.empty() and port.quiet(), longest)
    if not finished:
        log.info("gave up on %d requests, and on answers that were not taken, after %g s", gate.working(), longest)
    elif end.signal:
        log.info("drained")
    return finished


async def _until(done: Callable[[], bool], seconds: float) -> bool:
    """Wait at most this many seconds. Return whether it is done; new input is always read first."""
    end = time.monotonic() + seconds
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if done():
            return True
        if time.monotonic() >= end:
            return False
