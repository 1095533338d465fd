"""The source that is a topic, as the loop sees it.

Concurrency. The loop calls everything here, and waits for nothing but events that the thread sets.
"""

import asyncio
import logging
import math
import time

from serving.offline.kafka.broker_watch import ReadingFigures, lost
from serving.offline.kafka.client_configuration import ReadingPlan
from serving.offline.kafka.consumer_thread import ConsumerThread
from serving.offline.offline_metrics import OfflineMetrics
from serving.offline.thread_bridge import Take, ThreadBridge, ThreadedSource, Withdraw
from serving.telemetry.logs import LogThrottle

STUCK_SECONDS = 5.0  # without a sign of life
LOOK_SECONDS = 5.0  # between two looks at the thread
LOST_SECONDS = 60.0  # without a sign of life, though a new client is answered; a commit may wait 45 s for the group's broker
PATIENCE_SECONDS = 240.0  # for a commit; the client gives up a broker that stands still after 3 requests of 60 s

log = logging.getLogger("monopod.kafka")


class KafkaReader(ThreadedSource):
    """A Source. Make it once in a process; start() runs on the loop."""

    def __init__(self, plan: ReadingPlan, metrics: OfflineMetrics):
        super().__init__()
        self._plan, self._metrics = plan, metrics
        self._lines = LogThrottle()
        self._thread: ConsumerThread | None = None

    def start(self, take: Take, withdraw: Withdraw) -> None:
        bridge = ThreadBridge(take, withdraw)
        self._thread = ConsumerThread(self._plan, bridge, self._metrics)
        self._metrics.show("lag_records", lambda: self.figures().lag)
        self._metrics.show("brokers_away_seconds", lambda: {(): self._brokers_away()})
        self._metrics.show("partitions", lambda: {(): float(self.figures().partitions)})
        self.begin(bridge, self._thread.run, "kafka-reader")
        self._patience = asyncio.get_running_loop().create_task(self._end_a_hang(bridge))

    def ready(self) -> bool:
        """Return whether partitions were assigned, or the group has none for this process."""
        return self._thread is not None and self._thread.known

    def stuck_seconds(self) -> float:
        """Return for how long the thread has given no sign of life, infinity where it ended by itself, else 0.

        A commit that waits for the group's broker does not count at first: another process would wait just as long.
        """
        bridge = self._begun
        if bridge is None or 0 < self._commit_waits() < PATIENCE_SECONDS:
            return 0.0
        if not bridge.alive:
            return 0.0 if bridge.stop_by is not None else math.inf
        silent = time.monotonic() - bridge.beat
        return silent if silent > STUCK_SECONDS else 0.0

    def figures(self) -> ReadingFigures:
        return self._thread.figures if self._thread else ReadingFigures()

    async def interrupt(self) -> None:
        """End the watch of the thread, which ends now."""
        self._patience.cancel()

    async def _end_a_hang(self, bridge: ThreadBridge) -> None:
        """End the reading where its thread hangs in the client though the brokers answer others. The thread is given up."""
        while bridge.alive:
            await asyncio.sleep(LOOK_SECONDS)
            if (waits := self._commit_waits()) > LOOK_SECONDS and self._lines.allows():
                log.warning("a commit waits for the group's broker, which has not answered for %.0f s", waits)
            silent = time.monotonic() - bridge.beat
            if silent > LOST_SECONDS and (error := await asyncio.to_thread(lost, self._plan)):
                bridge.end(error)
                return

    def _brokers_away(self) -> float:
        """Return for how many seconds the brokers have not answered. A commit takes some time of its own."""
        waits = self._commit_waits()
        return max(self.figures().away, waits if waits > STUCK_SECONDS else 0.0)

    def _commit_waits(self) -> float:
        since = self.bridge.waits_since
        return 0.0 if since is None else time.monotonic() - since
