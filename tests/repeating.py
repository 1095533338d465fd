"""Repeats a function on a thread while a test runs."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def repeating(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """Call `act` every `seconds`, on a thread of its own, for the length of a block.

    An exception of `act` ends the thread. It is raised again at the block's end, unless the block itself raised.
    """
    over = threading.Event()

    def loop() -> None:
        while not over.wait(seconds):
            try:
                act()
            except KeyError as error:  # act was reading the environment when pytest took its variable out of it
                if error.args != ("PYTEST_CURRENT_TEST",):
                    raise

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(loop)
        try:
            yield
        finally:
            over.set()
        done.result()
