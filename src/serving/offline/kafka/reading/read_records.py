"""Messages, offsets and errors of the client become records, checked offsets, and words with a cure.

Knows the client's types. Calls no broker.
"""

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from serving.offline.kafka.groups import no_right
from serving.offline.kafka.reading.loop_exchange import Handed
from serving.offline.records import Record, SourceFailed

OLD_BROKERS = 'Brokers before 4.0 lack the new group protocol: set offline_protocol = "classic".'


def record_of(message: Message, generation: int) -> Record:
    """Return a message as a record of an assignment. A time that the topic does not keep is 0."""
    origin = Handed(message.topic() or "", message.partition() or 0, message.offset() or 0)
    origin.generation = generation
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    key, value = message.key(), message.value()
    return Record(origin, max(0, message.timestamp()[1]), key, value, tuple((name, _bytes(text)) for name, text in pairs))


def _bytes(text: str | bytes | None) -> bytes:
    return text.encode() if isinstance(text, str) else text or b""


def checked(places: list[TopicPartition]) -> list[TopicPartition]:
    """Return committed offsets, or raise the first partition's KafkaException."""
    for place in places:
        if place.error:
            raise KafkaException(place.error)
    return places


def failure(error: KafkaError, topic: str, group: str) -> SourceFailed:
    """Return what an error that ends the reading means. A fatal one holds its cause as text alone."""
    cures = {KafkaError.UNSUPPORTED_VERSION: OLD_BROKERS, KafkaError.GROUP_AUTHORIZATION_FAILED: no_right(group)}
    cure = next((words for code, words in cures.items() if KafkaError(code).str() in error.str()), "")
    return SourceFailed(f"Reading {topic} ended: {error.str()}. {cure}".rstrip())
