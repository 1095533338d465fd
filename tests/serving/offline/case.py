"""A topic with a group, a topic of answers, and the service between them, for one test.

Knows names and where answers are. Does not know processes.
"""

from pathlib import Path
from typing import Any

from serving.settings.offline_names import dead_topic_of
from tests.serving.offline import broker
from tests.serving.offline.offline_process import numbers, service


class Case:
    """A topic with a group, a topic of answers, and a service that reads the one and writes the other."""

    def __init__(self, address: str, topic: str, group: str, answers: str, folder: Path):
        self.address, self.topic, self.group, self.answers, self.folder = address, topic, group, answers, folder
        self.dead = dead_topic_of(topic, group)

    def service(self, more: str = "", sinks: str = "") -> Path:
        return service(self.folder, self.topic, self.group, sinks or f'["kafka:{self.answers}"]', more)

    def answered(self) -> list[int]:
        return numbers(broker.records(self.address, self.answers))

    def letters(self) -> list[tuple[Any, dict[str, Any]]]:
        """Return each dead letter's value and headers."""
        return [(message.value(), dict(message.headers() or [])) for message in broker.records(self.address, self.dead)]

    def produce(self, values: list[bytes | None], partition: int = 0, **more: Any) -> None:
        broker.produce(self.address, self.topic, values, partition, **more)

    def is_committed(self, partition: int = 0) -> bool:
        end = broker.end_offset(self.address, self.topic, partition)
        return broker.committed(self.address, self.group, self.topic, partition)[0] == end
