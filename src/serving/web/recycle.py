"""A process whose memory grows until it ends itself: it drains, and Kubernetes starts its container again.

The kernel's killer would take the process with all its requests. A drain loses none, and another pod serves meanwhile.

Concurrency. The loop alone runs all of it, until the process ends.
"""

import asyncio
import hashlib
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from serving.base.process import private_bytes, trim
from serving.settings import Settings, process_memory

log = logging.getLogger("monopod.memory")

EXIT_CODE = 75  # of a process that ended itself for its memory: EX_TEMPFAIL of sysexits.h
LOOK_SECONDS = 5.0
OVER_SECONDS = 60.0  # for which the memory stays above its level
MIN_AGE = 900.0  # seconds; Kubernetes waits at most 10 s before the next start of a container that ran for 600 s
SPREAD = 0.05  # the share by which pods' levels and ages differ at most, so that pods of one release do not end together
NOTICE_SECONDS = 10.0  # of answers while readiness is off: two probes fail, and gateways and kube-proxy forget the pod
COUNT = Path(tempfile.gettempdir(), "monopod-recycles")  # A pod keeps this folder when its container starts again.
TERMINATION_LOG = Path("/dev/termination-log")  # Kubernetes shows its text with the exit code.


class Recycling:
    """Decides when a process ends for its memory. pod: its name. has_sibling: whether another pod serves meanwhile.

    held: returns the bytes that requests hold now. end: is called once, on the loop.
    """

    def __init__(self, settings: Settings, pod: str, has_sibling: bool, held: Callable[[], int], end: Callable[[], object]):
        spread = int.from_bytes(hashlib.sha256(pod.encode()).digest()[:4]) / 2**32 * SPREAD
        self.level = process_memory(settings) * settings.recycle_at_memory * (1 - spread)  # bytes
        self.over = False  # whether the memory has been above its level for OVER_SECONDS
        self._spread, self._has_sibling, self._held, self._end = spread, has_sibling, held, end

    def count(self) -> int:
        """Return how often this pod's container has ended for its memory."""
        return int(COUNT.read_text()) if COUNT.exists() else 0

    async def watch(self) -> None:
        """Look at the memory until it calls for an end. Call it once the models are loaded."""
        began = time.monotonic()
        if not self.level:
            return
        if self._memory() > self.level:
            log.warning(
                "value.py: the process holds %d MiB at rest, above recycle_at_memory, %d MiB: it never ends for its memory; "
                "raise memory", self._memory() / 2**20, self.level / 2**20,
            )  # fmt: skip
            return
        since = began
        while not (self.over and self._has_sibling and time.monotonic() - began > MIN_AGE * (1 + self._spread)):
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            if self._memory() <= self.level:
                self.over, since = False, now
            elif not self.over and now - since >= OVER_SECONDS:
                trim()
                self.over = self._memory() > self.level
                since = since if self.over else now
                if self.over:
                    self._tell()
        self._note()
        self._end()

    def _memory(self) -> int:
        return private_bytes() - self._held()

    def _tell(self) -> None:
        then = "the pod ends once it is 15 minutes old" if self._has_sibling else "it goes on, since it may be the only pod"
        log.warning(
            "the process holds %d MiB beside its requests, above recycle_at_memory, %d MiB, for %d s: %s",
            self._memory() / 2**20, self.level / 2**20, OVER_SECONDS, then,
        )  # fmt: skip

    def _note(self) -> None:
        """Keep the count for the next process, and the reason for Kubernetes. A full disk must not keep the process alive."""
        try:
            COUNT.write_text(str(self.count() + 1))
            if TERMINATION_LOG.exists():
                TERMINATION_LOG.write_text(f"recycled: {self._memory() >> 20} MiB beside its requests, recycle_at_memory")
        except (OSError, ValueError) as error:
            log.warning("the end for its memory cannot be noted: %s", error)
