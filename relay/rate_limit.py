"""At most so many messages in a while. Refused messages are not kept: Alertmanager has them, and tries again.

Every attempt counts, whatever became of it, as a robot may count it too. One thread uses it.
"""

import time
from collections import deque
from collections.abc import Callable


class RateLimit:
    """A sliding window: in any `seconds` at most `count` attempts."""

    def __init__(self, count: int, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._seconds, self._clock = seconds, clock
        self._attempts: deque[float] = deque(maxlen=count)

    def wait(self) -> float:
        """Return 0 and count an attempt, or else the seconds until one is allowed."""
        now, attempts = self._clock(), self._attempts
        if len(attempts) == attempts.maxlen and now < attempts[0] + self._seconds:
            return attempts[0] + self._seconds - now
        attempts.append(now)
        return 0.0
