"""The plan of a reader: where it reads, as which group, and within which bounds.

Knows settings. Opens no connection.
"""

import uuid
from dataclasses import dataclass

from serving.offline.kafka.client_configuration import Configuration, consumer
from serving.settings import Settings, size_in_bytes

SHARE_OF_MEMORY = 8  # values of records that were handed over take this part of the pod's memory at most
RATE_SECONDS = 0.5  # of the rate are read at once, so that none of them waits long


@dataclass(frozen=True)
class ReadingPlan:
    """connected, consumer: librdkafka's properties, without and with the group's. limit: records, 0 for all. dry: no commit."""

    connected: Configuration
    consumer: Configuration
    topic: str
    group: str
    start: str
    window: int
    rate: float
    most_bytes: int
    revoke_second: float
    limit: int = 0
    dry: bool = False

    @property
    def most_read(self) -> int:
        """The most records of one turn that the rate allows, 0 where there is no bound."""
        return max(1, int(self.rate * RATE_SECONDS)) if self.rate else 0


def reading_plan(
    connected: Configuration, topic: str, group: str, settings: Settings, limit: int = 0, dry: bool = False
) -> ReadingPlan:
    """Return the plan of a service. group: with the track's suffix. A dry run has a group of its own, and commits nothing."""
    member_of = f"{group}-dry-run-{uuid.uuid4().hex[:12]}" if dry else group
    return ReadingPlan(
        connected=connected,
        consumer=consumer(connected, settings, member_of),
        topic=topic,
        group=member_of,
        start=settings.offline_start,
        window=settings.offline_window,
        rate=settings.offline_rate,
        most_bytes=size_in_bytes(settings.memory) // SHARE_OF_MEMORY,
        revoke_second=settings.offline_revoke_second,
        limit=limit,
        dry=dry,
    )
