"""The brokers' answers to a client: each partition's lag, for how long they have been away, and whether it lost them.

The reader's thread asks, and any thread may read the figures. The client tells nobody that its brokers are away while no record
is to come. So a partition that rests is asked for its end.

librdkafka 2.16 drops a broker that the brokers do not name. After a pause of all of them, they name none for a moment. Then it
may ask nobody any more, and a commit may wait without end. Only a new client finds them, and so a new process. The calls of one
client wait for each other, so nobody can ask a client that hangs: another one is asked.
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from serving.offline.kafka.client_configuration import Configuration, ReadingPlan
from serving.offline.kafka.progress import Partition
from serving.offline.records import SourceFailed

END_SECONDS, ANY_SECONDS = 1.0, 2.0  # the longest questions: for the end of a partition, and for any answer
ASK_EACH = 10.0  # seconds between two questions of a kind
ALONE_SECONDS = 25.0  # without an answer to this client, which are three looks, until another one is asked


class ReadingFigures(NamedTuple):
    """lag: of each topic and partition, the records behind the commit. paused: partitions that are not read at present.

    away: the seconds since the first question that no broker has answered, 0 where they answer.
    """

    lag: Mapping[tuple[str, ...], float] = {}
    partitions: int = 0
    paused: int = 0
    away: float = 0.0


def figures_of(consumer: Consumer, partitions: Iterable[Partition], now: float) -> ReadingFigures:
    owned = list(partitions)
    for each in owned:
        if _is_due(consumer, each, now) and not _tells_end(consumer, each, now):
            break  # others would take as long to ask, and their records wait meanwhile
    lag: dict[tuple[str, ...], float] = {
        (each.topic, str(each.number)): float(max(0, each.known_end - each.progress.committed)) for each in owned
    }
    away = max((now - each.away_since for each in owned if each.away_since is not None), default=0.0)
    return ReadingFigures(lag, len(owned), sum(each.paused for each in owned), away)


def _is_due(consumer: Consumer, owned: Partition, now: float) -> bool:
    """Return whether a partition's end has to be asked for. The client hears of it with each answer, unless it is paused."""
    end = consumer.get_watermark_offsets(TopicPartition(owned.topic, owned.number), cached=True)[1]
    owned.known_end = max(end, owned.known_end)
    works = not owned.paused and end >= 0 and now - owned.busy_at <= ASK_EACH
    if works:
        owned.away_since = None
    return not works and now - owned.asked_at > ASK_EACH


def _tells_end(consumer: Consumer, owned: Partition, now: float) -> bool:
    """Ask for a partition's end, and return whether a broker answered. Where none did, what was known stays."""
    owned.asked_at = now
    try:
        end = consumer.get_watermark_offsets(TopicPartition(owned.topic, owned.number), timeout=END_SECONDS)[1]
    except KafkaException:
        owned.away_since = now if owned.away_since is None else owned.away_since
        return False
    owned.known_end, owned.away_since = max(end, owned.known_end), None
    return True


class ClientWatch:
    """Watches one consumer. Its thread alone uses it, and not in a callback."""

    def __init__(self, consumer: Consumer, plan: ReadingPlan):
        self._consumer, self._plan = consumer, plan
        self._looked_at = self._answered_at = time.monotonic()

    def look(self, now: float) -> SourceFailed | None:
        """Return an error where another client is answered and this one is not. now: by time.monotonic."""
        if now - self._looked_at < ASK_EACH:
            return None
        if _answers(self._consumer, self._plan.topic):
            self._answered_at = now
        self._looked_at = time.monotonic()
        return lost(self._plan) if now - self._answered_at > ALONE_SECONDS else None


def lost(plan: ReadingPlan) -> SourceFailed | None:
    """Return the error of a reader that is not answered, or None where a new client is not answered either."""
    if not others_are_answered(plan.connected, plan.topic):
        return None
    return SourceFailed(f"The client has lost the brokers of {plan.topic}, which answer others. A new process finds them.")


def others_are_answered(connected: Configuration, topic: str) -> bool:
    """Return whether the brokers answer a new client."""
    return _answers(AdminClient(connected), topic)


def _answers(client: Consumer | AdminClient, topic: str) -> bool:
    try:
        return bool(client.list_topics(topic, timeout=ANY_SECONDS).brokers)
    except KafkaException:
        return False
