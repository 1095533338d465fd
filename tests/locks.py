"""Locks between the processes of a test run, by name. The kernel gives them back, however a process ends."""

import fcntl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Be the only one who holds a name."""
    with _file(name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(name: str) -> Iterator[Callable[[], bool]]:
    """Hold a name with others. Yields what says whether all others have let go of it, and from then on keeps them out."""
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
