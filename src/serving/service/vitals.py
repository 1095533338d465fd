"""What the process uses of what value.py asked for: memory, cores, the queue.

Knows the process and its models' queues. Does not know what is much.
"""

import time
from typing import Any

from serving.base.process_memory import resident_bytes
from serving.models.registry import ModelRegistry
from serving.settings import Settings, size_in_bytes

SHORTEST = 1.0  # seconds over which the use of cores is averaged, at least


class Vitals:
    """Reads them. Any thread may; `_last` and `_cores` are each replaced whole, so at worst two readers share an interval."""

    def __init__(self, settings: Settings, models: ModelRegistry):
        self._settings, self._models = settings, models
        self._last = (time.monotonic(), time.process_time())
        self._cores = 0.0

    def read(self) -> dict[str, Any]:
        """Return memory in bytes, cores used (the mean since a reading a second ago or earlier), and the queue's state."""
        now, used = time.monotonic(), time.process_time()
        since, before = self._last
        if now - since >= SHORTEST:
            self._last, self._cores = (now, used), (used - before) / (now - since)
        return {
            "memory_bytes": resident_bytes(),
            "memory_limit_bytes": size_in_bytes(self._settings.memory),
            "cpu_cores": round(self._cores, 3),
            "cpu_cores_asked": self._settings.cpu,
            "queue_rows": self._models.waiting_rows(),
            "queue_limit": self._settings.queue_limit,
            "oldest_seconds": self._models.oldest_age(),
        }
