"""Commits partitions' offsets and notes, each when it is due. The reader's thread alone uses it."""

import logging
import time
from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from serving.offline.kafka.groups import reason_of
from serving.offline.kafka.progress import CommitNote, Partition, write_note
from serving.offline.offline_metrics import OfflineMetrics
from serving.offline.thread_bridge import ThreadBridge
from serving.telemetry.logs import LogThrottle

log = logging.getLogger("monopod.kafka")

COMMIT_SECONDS = 1.0  # between two regular commits
REST_SECONDS = 5.0  # without an unfinished record, until the note is closed
AGAIN_SECONDS = 0.5  # after a commit that failed

Due = tuple[Partition, tuple[int, CommitNote]]


class OffsetCommits:
    """The commits of one consumer. dry: nothing is committed, and everything goes on as if it were."""

    def __init__(self, consumer: Consumer, bridge: ThreadBridge, metrics: OfflineMetrics, dry: bool):
        self._consumer, self._bridge, self._dry = consumer, bridge, dry
        self._good, self._failed = metrics.commits.labels("good"), metrics.commits.labels("failed")
        self._regular_at = self._again_at = 0.0
        self._lines = LogThrottle()

    def regular(self, partitions: Iterable[Partition], now: float) -> bool:
        """Commit what is due, about once a second. Returns whether it was looked at."""
        if now < max(self._regular_at, self._again_at):
            return False
        self._regular_at = now + COMMIT_SECONDS
        due = [(each, said) for each in partitions if (said := _regular(each, now))]
        if due:
            self.store(due)
        return True

    def wanted(self, partitions: Sequence[Partition], now: float) -> bool:
        """Commit partitions whose records wait for it. Returns whether all of it succeeded."""
        return now >= self._again_at and self.store([(each, each.progress.now()) for each in partitions])

    def store(self, due: Sequence[Due]) -> bool:
        """Commit offsets and notes, and wait for the broker. Returns whether all of it succeeded."""
        places = [TopicPartition(each.topic, each.number, offset, write_note(note)) for each, (offset, note) in due]
        failed = {} if self._dry else self._commit(places)
        for each, said in due:
            if each.number not in failed:
                each.progress.store(*said)
        if failed:
            self._failed.inc()
            self._again_at = time.monotonic() + AGAIN_SECONDS
            if self._lines.allows():
                log.warning("a commit failed, and is tried again: %s", next(iter(failed.values())))
        else:
            self._good.inc()
        return not failed

    def _commit(self, places: list[TopicPartition]) -> dict[int, str]:
        """Commit, and return why, for each partition that failed."""
        self._bridge.waits_since = time.monotonic()
        try:
            answers = self._consumer.commit(offsets=places, asynchronous=False)
            return {answer.partition: answer.error.str() for answer in answers if answer.error}
        except KafkaException as error:
            return {place.partition: reason_of(error) for place in places}
        finally:
            self._bridge.waits_since = None
            self._bridge.live()


def _regular(partition: Partition, now: float) -> tuple[int, CommitNote] | None:
    """Return what a regular commit says of a partition, or None where nothing is new."""
    progress = partition.progress
    if progress.unfinished or partition.waiting:
        partition.busy_at = now
    rests = now - partition.busy_at >= REST_SECONDS or not progress.stored.open
    if rests and not progress.unfinished and not partition.waiting:
        said = progress.at_rest()
        return said if said != progress.held() else None
    return progress.now() if progress.stored.open and progress.first() > progress.committed else None
