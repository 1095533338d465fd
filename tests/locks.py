"""Locks between the processes of a test run, by name. The kernel releases them, however a process ends."""

import fcntl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold the lock of a name alone, for the length of a block."""
    with _file(name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(name: str) -> Iterator[Callable[[], bool]]:
    """Hold the lock of a name together with others.

    Yields a function that returns whether all others have released it. Once it has returned True, it keeps others out.
    """
    with _file(name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)

        def last() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        yield last


def _file(name: str) -> Path:
    return Path(tempfile.gettempdir(), f"monopod-test-{name}.lock")
