"""Threads that work side by side."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

SECONDS = 100.0  # that a test waits for its threads


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do some work on `count` threads at once, each with its number. A failure of one thread fails the test."""
    futures: list[Future[None]] = [Future() for _ in range(count)]
    start = threading.Barrier(count)

    def one(number: int) -> None:
        start.wait(SECONDS)
        try:
            work(number)
            futures[number].set_result(None)
        except BaseException as error:
            futures[number].set_exception(error)

    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread, future in zip(threads, futures, strict=True):
        thread.join(SECONDS)
        future.result(SECONDS)
