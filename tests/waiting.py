"""Waits until a condition is true, and runs tests on a loop."""

import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop


def until(true: Callable[[], bool], seconds: float = 60, pause: float = 0.02) -> None:
    """Wait until a condition is true.

    seconds: the longest wait. pause: seconds between two checks. Raises AssertionError when the wait takes too long.
    """
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it did not come true in {seconds} s"
        time.sleep(pause)


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test on a loop of its own."""

    @functools.wraps(test)
    def ran(**given: Any) -> None:
        uvloop.run(test(**given))

    return ran
