"""Repeats a request while its API server cannot be reached: the wait between two attempts, and the end.

Knows clocks. Does not know what is asked. Only for requests that may be done twice, such as a server-side apply.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from conf.remote.cluster import Unreachable

PAUSE = 1.0  # seconds between two attempts
RETRIED_FOR = 60  # seconds after which a request that fails each time is given up
T = TypeVar("T")


def repeated(
    ask: Callable[[], T], before_each: Callable[[], None], may_go_on: Callable[[], bool], say: Callable[[str], None]
) -> T:
    """Ask until the API server answers, and return its answer.

    before_each: called before each attempt. It may wait or raise.
    may_go_on: whether another attempt is allowed.
    Raises Unreachable where the time is over or no other attempt is allowed, and what `ask` and `before_each` raise.
    """
    end = time.monotonic() + RETRIED_FOR
    while True:
        before_each()
        try:
            return ask()
        except Unreachable as error:
            time.sleep(PAUSE)
            if not may_go_on() or time.monotonic() > end:
                raise
            say(f"retrying for {RETRIED_FOR} s: {error}")
