"""Asks several servers at once, and ends in time.

Concurrency: each question has a thread of its own, and AT_ONCE of them work at a time. A thread ends with its answer. A thread
whose time is over is abandoned: it is a daemon, and its late answer goes to a dictionary that nobody reads any more. `_lock`
guards the dictionary while it is read.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

AT_ONCE = 8
K = TypeVar("K")
T = TypeVar("T")


class TooSlow(Exception):
    """A server has not answered in time, which is given in seconds."""

    def __init__(self, seconds: float):
        super().__init__(f"no answer in {seconds:g} s")


class Answers(Generic[K, T]):
    """The servers' answers: each is a result in `found`, or an exception in `failed`."""

    def __init__(self) -> None:
        self.found: dict[K, T] = {}
        self.failed: dict[K, Exception] = {}


def gathered(asks: Mapping[K, Callable[[], T]], seconds: float) -> Answers[K, T]:
    """Ask all at once, and return their answers in the order of `asks`. seconds: for all of them together."""
    late, lock, turn = Answers[K, T](), threading.Lock(), threading.Semaphore(AT_ONCE)

    def work(key: K) -> None:
        try:
            with turn:
                answer = asks[key]()
            with lock:
                late.found[key] = answer
        except Exception as error:  # the caller decides which of them are expected
            with lock:
                late.failed[key] = error

    threads = {key: threading.Thread(target=work, args=(key,), name=f"ask-{key}", daemon=True) for key in asks}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    answers = Answers[K, T]()
    with lock:
        for key in asks:
            if key in late.found:
                answers.found[key] = late.found[key]
            else:
                answers.failed[key] = late.failed.get(key, TooSlow(seconds))
    return answers
