"""A reader's figures for the metrics page: each partition's lag, and for how long its brokers have been away.

Knows the consumer's watermarks. The reader's thread makes the figures, and any thread may read them once they are made.

The client tells nobody that its brokers are away while no record is to come. So a partition that rests is asked for its end.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from serving.offline.kafka.reading.record_admission import Partition

ASK_SECONDS = 1.0  # the longest question for the end of a partition
ASK_EACH = 10.0  # seconds between two questions for the end of one that is not read at present


class Figures(NamedTuple):
    """lag: of each topic and partition, the records behind the commit. paused: partitions that are not read at present.

    away: the seconds since the first question that no broker has answered, 0 where they answer.
    """

    lag: Mapping[tuple[str, ...], float] = {}
    partitions: int = 0
    paused: int = 0
    away: float = 0.0


def figures_of(consumer: Consumer, partitions: Iterable[Partition], now: float) -> Figures:
    """Return the figures of now. now: seconds of a steady clock."""
    owned = list(partitions)
    for each in owned:
        if _is_due(consumer, each, now) and not _answers(consumer, each, now):
            break  # others would take as long to ask, and their records wait meanwhile
    lag: dict[tuple[str, ...], float] = {(each.topic, str(each.number)): _lag(each) for each in owned}
    away = max((now - each.away_since for each in owned if each.away_since is not None), default=0.0)
    return Figures(lag, len(owned), sum(each.paused for each in owned), away)


def _is_due(consumer: Consumer, owned: Partition, now: float) -> bool:
    """Return whether a partition's end has to be asked for. The client hears of it with each answer, unless it is paused."""
    end = consumer.get_watermark_offsets(TopicPartition(owned.topic, owned.number), cached=True)[1]
    owned.known_end = max(end, owned.known_end)
    works = not owned.paused and end >= 0 and now - owned.busy_at <= ASK_EACH
    if works:
        owned.away_since = None
    return not works and now - owned.asked_at > ASK_EACH


def _answers(consumer: Consumer, owned: Partition, now: float) -> bool:
    """Ask for a partition's end, and return whether a broker answered. Where none did, what was known stays."""
    owned.asked_at = now
    try:
        end = consumer.get_watermark_offsets(TopicPartition(owned.topic, owned.number), timeout=ASK_SECONDS)[1]
    except KafkaException:
        owned.away_since = now if owned.away_since is None else owned.away_since
        return False
    owned.known_end, owned.away_since = max(end, owned.known_end), None
    return True


def _lag(owned: Partition) -> float:
    """Return the records behind the commit."""
    return float(max(0, owned.known_end - owned.progress.committed))
