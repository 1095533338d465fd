"""A fixed number of threads that run jobs in the order in which they come.

Knows threads. Does not know the jobs.

Concurrency. The queue is the only thing that is shared. A job that raises is logged and never ends its thread. The threads are
daemons and live as long as the process: nobody waits for a job here, since each one reports its own end.
"""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

log = logging.getLogger("monopod.core")

Job = tuple[Callable[..., None], tuple[Any, ...]]


class WorkerThreads:
    """The threads. first: each thread calls it before its first job."""

    def __init__(self, count: int, name: str, first: Callable[[], None] = lambda: None):
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._run, args=(first,), name=f"{name}-{number}", daemon=True).start()

    def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a thread call a function."""
        self._jobs.put((function, arguments))

    def _run(self, first: Callable[[], None]) -> None:
        first()
        while True:
            function, arguments = self._jobs.get()
            try:
                function(*arguments)
            except BaseException:  # sys.exit in a hook too
                log.exception("a job failed")
            del function, arguments  # or this frame would keep the last request until the next one comes
