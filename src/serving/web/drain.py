"""Serving and draining on the I/O thread: after a signal the process ends without losing an accepted request.

Knows states and times. Does not know sockets or requests.

The steps after SIGTERM. First readiness goes off, and for the drain delay every request is served, with Connection: close.
Then the port closes, and for a moment open connections may still send requests. Accepted requests are finished, and the process
exits.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from serving.web.admission import CLOSED, Gate

log = logging.getLogger("monopod.drain")

LATE_SECONDS = 0.5  # to accept the connections that were made just before the port refuses new ones
NEXT_REQUEST_SECONDS = 3.0  # that an idle connection has for its next request, once the port is closed


class Port(Protocol):
    """The data port."""

    def turn_away(self) -> None: ...

    def stop_listening(self) -> None: ...

    def quiet(self) -> bool: ...

    def idle(self, seconds: float) -> bool: ...


class Signals:
    """Remembers the first SIGTERM or SIGINT. wake: ends the wait of the I/O thread."""

    def __init__(self, wake: Callable[[], None]):
        self.received = 0
        self._wake = wake
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            os._exit(128 + number)  # a second Ctrl-C ends the process at once
        self.received = self.received or number
        self._wake()


def run(turn: Callable[[], None], port: Port, gate: Gate, received: Callable[[], int], delay: float, longest: float) -> bool:
    """Serve until a signal is received, then drain. Return whether every accepted request was finished.

    Each call of turn lets the I/O thread work for a moment. The function received returns 0 while the process is to serve,
    then a signal's number, or a negative number where the start failed. The port closes delay seconds after SIGTERM, but at
    once after Ctrl-C, and where the pod was never ready. After longest seconds unfinished requests are given up.
    """
    while not received():
        turn()
    gently = gate.drain() and received() != signal.SIGINT
    delay, late, grace = (delay, LATE_SECONDS, NEXT_REQUEST_SECONDS) if gently else (0.0, 0.0, 0.0)
    asked = received() > 0
    if asked:
        log.info("signal %d: draining for %g s", received(), delay)
    _turn_for(turn, delay)
    port.turn_away()
    _turn_for(turn, late)
    port.stop_listening()
    _turn_for(turn, grace, lambda: port.quiet() and port.idle(grace))
    gate.state = CLOSED
    finished = _turn_for(turn, longest, lambda: gate.empty() and port.quiet())
    if not finished:
        log.info("gave up on %d requests after %g s", gate.working(), longest)
    elif asked:
        log.info("drained")
    return finished


def _turn_for(turn: Callable[[], None], seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
    """Turn until done, or for so many seconds. Return whether it is done; a turn always reads new input first."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        turn()
        if done():
            return True
    return False
