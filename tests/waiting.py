"""Waits until a condition is true. Knows the clock alone."""

import time
from collections.abc import Callable


def until(true: Callable[[], bool], seconds: float = 60, pause: float = 0.02) -> None:
    """Wait until a condition is true.

    seconds: the longest wait. pause: seconds between two checks. Raises AssertionError when the wait takes too long.
    """
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it did not come true in {seconds} s"
        time.sleep(pause)
