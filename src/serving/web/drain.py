"""The process's life on its I/O thread: serve, and after a signal end without losing what was accepted.

Knows states and times. Does not know sockets beyond "let them work", nor requests.

    SIGTERM: readiness off -> drain delay: all is served, with Connection: close -> the port closes -> open connections may
    still ask, for a moment -> what was accepted is finished -> exit
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

LATE_SECONDS = 0.5  # for connections that were made just before new ones are turned away
ASK_SECONDS = 3.0  # that a connection which was just made or answered has for its next request, once the port is closed


class Port(Protocol):
    """The data port."""

    def turn_away(self) -> None: ...

    def stop_listening(self) -> None: ...

    def quiet(self) -> bool: ...

    def idle(self, seconds: float) -> bool: ...


class Signals:
    """Remembers the first SIGTERM or SIGINT. wake gets the I/O thread out of its wait."""

    def __init__(self, wake: Callable[[], None]):
        self.received = 0
        self._wake = wake
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            os._exit(128 + number)  # a person who presses Ctrl-C again will not wait
        self.received = self.received or number
        self._wake()


def run(turn: Callable[[], None], port: Port, gate: Gate, received: Callable[[], int], delay: float, longest: float) -> bool:
    """Serve until a signal is received, then drain. Returns whether everything that was accepted was finished.

    turn: lets the I/O thread work for a moment. delay: seconds from SIGTERM to the port's close; none after Ctrl-C, nor where
    the pod was never ready.
    received: 0 while the process is to serve, then a signal's number, or less where the start failed.
    longest: seconds after which what is still unfinished is given up.
    """
    while not received():
        turn()
    gently = gate.drain() and received() != signal.SIGINT
    delay, late, ask = (delay, LATE_SECONDS, ASK_SECONDS) if gently else (0.0, 0.0, 0.0)
    asked = received() > 0
    if asked:
        log.info("signal %d: draining for %g s", received(), delay)
    _turn_for(turn, delay)
    port.turn_away()
    _turn_for(turn, late)
    port.stop_listening()
    _turn_for(turn, ask, lambda: port.quiet() and port.idle(ask))
    gate.state = CLOSED
    finished = _turn_for(turn, longest, lambda: gate.empty() and port.quiet())
    if not finished:
        log.info("gave up on %d requests after %g s", gate.working(), longest)
    elif asked:
        log.info("drained")
    return finished


def _turn_for(turn: Callable[[], None], seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
    """Turn until done or so many seconds have passed; never done before a turn has read what has come meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        turn()
        if done():
            return True
    return False
