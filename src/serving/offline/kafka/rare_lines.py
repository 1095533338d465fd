"""Bounds how often a log tells the same thing, as while brokers are away.

Knows the clock. Does not know what is told.
"""

import time

QUIET_SECONDS = 30.0  # between two lines about the same thing
MOST_REMEMBERED = 1000  # different things


class RareLines:
    """Allows a line about each thing now and then.

    Concurrency: any thread may ask. Two that ask about the same thing at once may both get a yes.
    """

    def __init__(self) -> None:
        self._told: dict[str, float] = {}  # seconds of time.monotonic()

    def allows(self, about: str = "") -> bool:
        """Return whether a line about a thing is to be written now."""
        now = time.monotonic()
        if now - self._told.get(about, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        if len(self._told) >= MOST_REMEMBERED:
            self._told.clear()
        self._told[about] = now
        return True
