"""Waiting for what somebody else does. Knows the clock alone."""

import time
from collections.abc import Callable


def until(true: Callable[[], bool], seconds: float = 20, pause: float = 0.02) -> None:
    """Wait until something is true, and ask for it after each pause. Raises AssertionError when that takes too many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it did not come true in {seconds} s"
        time.sleep(pause)
