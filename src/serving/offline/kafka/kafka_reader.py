"""The source that is a topic: what a pipeline may ask of the reader's thread.

Knows the loop's side of the bridge, and starts the thread. Knows neither the group's protocol nor commits.

Concurrency. The loop calls everything here, and waits for nothing but events that the thread sets. The thread is a daemon: one
that hangs in the client cannot keep the process from ending.
"""

import asyncio
import contextlib
import logging
import math
import threading
import time

from serving.offline.kafka.broker_watch import ReadingFigures, others_are_answered
from serving.offline.kafka.client_configuration import ReadingPlan
from serving.offline.kafka.consumer_thread import ConsumerThread
from serving.offline.kafka.thread_bridge import Take, ThreadBridge, Withdraw
from serving.offline.offline_metrics import OfflineMetrics
from serving.offline.records import Origin
from serving.telemetry.logs import LogThrottle

LEAVE_SECONDS = 5.0  # for the last commit and the group, beyond the time for records
STUCK_SECONDS = 5.0  # without a sign of life
LOOK_SECONDS = 5.0  # between two looks at the thread
LOST_SECONDS = 60.0  # without a sign of life, though a new client is answered; a commit may wait 45 s for the group's broker
PATIENCE_SECONDS = 240.0  # for a commit; the client gives up a broker that stands still after 3 requests of 60 s

log = logging.getLogger("monopod.kafka")


class KafkaReader:
    """A Source. Make it once in a process; start() runs on the loop."""

    def __init__(self, plan: ReadingPlan, metrics: OfflineMetrics):
        self._plan, self._metrics = plan, metrics
        self._bridge: ThreadBridge | None = None
        self._lines = LogThrottle()
        self._thread: ConsumerThread | None = None

    def start(self, take: Take, withdraw: Withdraw) -> None:
        """Join the group, and begin to give records to `take`. withdraw: as serving.offline.records.Source."""
        self._bridge = ThreadBridge(take, withdraw)
        self._thread = ConsumerThread(self._plan, self._bridge, self._metrics)
        self._metrics.show("lag_records", lambda: self.figures().lag)
        self._metrics.show("brokers_away_seconds", lambda: {(): self._brokers_away()})
        self._metrics.show("partitions", lambda: {(): float(self.figures().partitions)})
        threading.Thread(target=self._thread.run, name="kafka-reader", daemon=True).start()
        self._patience = asyncio.get_running_loop().create_task(self._end_a_hang(self._bridge))

    def finished(self, origin: Origin) -> None:
        """Note that a record is done, so that its offset may be committed."""
        self._started_bridge().done(origin, True)

    def dropped(self, origin: Origin) -> None:
        """Note that a record will not be finished here. Its offset is not committed."""
        self._started_bridge().done(origin, False)

    def hold(self, held: bool) -> None:
        """Stop reading within a second, or go on. The group's membership is kept."""
        bridge = self._started_bridge()
        bridge.held = held
        bridge.wake()

    def ready(self) -> bool:
        """Return whether partitions were assigned, or the group has none for this process."""
        return self._thread is not None and self._thread.known

    def stuck_seconds(self) -> float:
        """Return for how long the thread has given no sign of life, infinity where it ended by itself, else 0.

        A commit that waits for the group's broker does not count at first: another process would wait just as long.
        """
        bridge = self._bridge
        if bridge is None or 0 < self._commit_waits() < PATIENCE_SECONDS:
            return 0.0
        if not bridge.alive:
            return 0.0 if bridge.stop_by is not None else math.inf
        silent = time.monotonic() - bridge.beat
        return silent if silent > STUCK_SECONDS else 0.0

    async def ended(self) -> None:
        """Return once the limit is reached and committed. Raises SourceFailed where reading cannot go on."""
        await self._started_bridge().at_end()

    async def stop(self, seconds: float) -> None:
        """Read no more, wait so many seconds at most for the records that were begun, commit them, and leave the group."""
        bridge = self._bridge
        if bridge is None:
            return
        self._patience.cancel()
        bridge.stop_by = time.monotonic() + seconds
        bridge.wake()
        with contextlib.suppress(TimeoutError):  # the process ends, and the group takes the member for dead
            await asyncio.wait_for(bridge.gone(), seconds + LEAVE_SECONDS)

    async def _end_a_hang(self, bridge: ThreadBridge) -> None:
        """End the reading where its thread hangs in the client though the brokers answer others. The thread is given up."""
        while bridge.alive:
            await asyncio.sleep(LOOK_SECONDS)
            if (waits := self._commit_waits()) > LOOK_SECONDS and self._lines.allows():
                log.warning("a commit waits for the group's broker, which has not answered for %.0f s", waits)
            silent = time.monotonic() - bridge.beat
            if silent > LOST_SECONDS and (error := await asyncio.to_thread(others_are_answered, self._plan)):
                bridge.end(error)
                return

    def _brokers_away(self) -> float:
        """Return for how many seconds the brokers have not answered. A commit takes some time of its own."""
        waits = self._commit_waits()
        return max(self.figures().away, waits if waits > STUCK_SECONDS else 0.0)

    def _commit_waits(self) -> float:
        """Return for how many seconds a commit has waited for its answer."""
        since = self._started_bridge().waits_since
        return 0.0 if since is None else time.monotonic() - since

    def _started_bridge(self) -> ThreadBridge:
        assert self._bridge, "start() was not called"
        return self._bridge

    def figures(self) -> ReadingFigures:
        """Return what the reader looked like at most a second ago."""
        return self._thread.figures if self._thread else ReadingFigures()
