"""A broker that stood still for a while is read on, under both protocols, and nothing is lost."""

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from tests.own_broker import own_broker
from tests.serving.offline import broker as asked
from tests.serving.offline.kafka.members import MemberProcess
from tests.waiting import until

pytestmark = pytest.mark.offline
COUNT, WINDOW = 1500, 50
PAUSE_SECONDS = 30.0  # after which a broker that was cut off names no broker for a moment


class Pod:
    """A member's process that is started again where its client has lost the broker, as Kubernetes does."""

    def __init__(self, address: str, protocol: str, file: Path):
        self.address, self.protocol, self.file, self.starts = address, protocol, file, 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        more: dict[str, Any] = {"offline_window": WINDOW, "offline_protocol": self.protocol}
        self.member = MemberProcess(self.address, self.protocol, self.protocol, self.file, work=0.05, **more)

    def has_committed(self) -> bool:
        """Return whether all is committed. A process that ended by itself has its successor."""
        if self.member.process.poll() is not None:
            assert self.member.process.returncode == 1
            self.start()
        with contextlib.suppress(KafkaException):  # the broker leads no group for a while
            return all(asked.committed(self.address, self.protocol, self.protocol, each)[0] == COUNT for each in range(2))
        return False


def test_readers_of_both_protocols_go_on_after_their_broker_stood_still(tmp_path: Path) -> None:
    pods: list[Pod] = []
    with own_broker() as own:
        try:
            for protocol in ("consumer", "classic"):
                asked.create_topic(own.address, protocol, 2)
                for partition in range(2):
                    asked.produce(own.address, protocol, (b"%d" % number for number in range(COUNT)), partition)
                pods.append(Pod(own.address, protocol, tmp_path / protocol))
            until(lambda: all(len(pod.member.places("handed")) > 100 for pod in pods))
            own.freeze()
            try:
                time.sleep(PAUSE_SECONDS)
            finally:
                own.thaw()
            until(lambda: all([pod.has_committed() for pod in pods]), 150, pause=0.5)  # noqa: C419
        finally:
            for pod in pods:
                pod.member.end()
    for pod in pods:
        handed = Counter(pod.member.places("handed"))
        assert set(handed) == {(partition, number) for partition in range(2) for number in range(COUNT)}
        assert sum(handed.values()) - len(handed) <= pod.starts * 2 * WINDOW
