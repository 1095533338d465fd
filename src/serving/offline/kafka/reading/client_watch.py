"""Tells when a reader's client has lost its brokers for good, though they are there.

Knows what clients answer. librdkafka 2.16 drops a broker that the brokers do not name. After a pause of all of them, they name
none for a moment, and then it may ask nobody any more, and a commit may wait without end. Only a new client finds them, and so
a new process. The calls of one client wait for each other, so nobody can ask a client that hangs: another one is asked.
"""

import time

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from serving.offline.kafka.reading.reading_plan import ReadingPlan
from serving.offline.records import SourceFailed

LOOK_SECONDS = 10.0  # between two looks
ALONE_SECONDS = 25.0  # without an answer to this client, which are three looks, until another one is asked
ASK_SECONDS = 2.0  # the longest wait for an answer


class ClientWatch:
    """Watches one consumer. Its thread alone uses it, and not in a callback."""

    def __init__(self, consumer: Consumer, plan: ReadingPlan):
        self._consumer, self._plan = consumer, plan
        self._looked_at = self._answered_at = time.monotonic()

    def look(self, now: float) -> SourceFailed | None:
        """Return an error where another client is answered and this one is not. now: by time.monotonic."""
        if now - self._looked_at < LOOK_SECONDS:
            return None
        if _answers(self._consumer, self._plan.topic):
            self._answered_at = now
        self._looked_at = time.monotonic()
        return others_are_answered(self._plan) if now - self._answered_at > ALONE_SECONDS else None


def others_are_answered(plan: ReadingPlan) -> SourceFailed | None:
    """Return the error of a client that is not answered, or None where a new one is not answered either."""
    if not _answers(AdminClient(plan.connected), plan.topic):
        return None
    return SourceFailed(f"The client has lost the brokers of {plan.topic}, which answer others. A new process finds them.")


def _answers(client: Consumer | AdminClient, topic: str) -> bool:
    try:
        return bool(client.list_topics(topic, timeout=ASK_SECONDS).brokers)
    except KafkaException:
        return False
