"""Answers as a service gives them, for tests of sinks."""

import json

from serving.offline.records import Answer, Origin, Record

TIME = 1_700_000_000_123  # milliseconds since 1970


def answer(
    offset: int = 0, time: int = TIME, version: str = "v1", topic: str = "videos", partition: int = 0, **fields: object
) -> Answer:
    """Return an answer to a record. fields: of its body, whose results are {"age": offset} where none are given."""
    body = json.dumps({"results": {"age": offset}, "msg": "", **fields}).encode()
    return answer_of(body, offset, time, version, topic, partition)


def answer_of(
    body: bytes, offset: int = 0, time: int = TIME, version: str = "v1", topic: str = "videos", partition: int = 0
) -> Answer:
    return Answer(Record(Origin(topic, partition, offset), time, b"key", b"value"), body, version)
