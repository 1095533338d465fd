"""Something that is done again and again while a test goes on. Knows the thread; does not know what is done."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def repeating(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """Do something every so many seconds, on a thread of its own, for the length of a block.

    What it raises ends the thread, and is raised again at the block's end, unless the block itself raised.
    """
    over = threading.Event()

    def loop() -> None:
        while not over.wait(seconds):
            act()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(loop)
        try:
            yield
        finally:
            over.set()
        done.result()
