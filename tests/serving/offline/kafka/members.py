"""Members of a group for tests: real readers with a loop of their own, in this process or in one that can be killed.

`python -m tests.serving.offline.kafka.members ADDRESS TOPIC GROUP FILE SECONDS DEADLY SETTINGS` is such a process. It appends
"handed PARTITION OFFSET" and "finished PARTITION OFFSET" to FILE, and works for SECONDS on each record. A record whose value is
DEADLY kills it. SETTINGS is JSON.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serving.offline.kafka.client_configuration import connection, reading_plan
from serving.offline.kafka.kafka_reader import KafkaReader
from serving.offline.offline_metrics import OfflineMetrics
from serving.offline.records import Origin, Record
from serving.settings import Settings
from serving.telemetry.metrics import Metrics
from tests.running import PYTHONPATH

Place = tuple[int, int]  # partition and offset
Join = Callable[..., "Member"]  # starts a member of a group; given its topic, and settings by name


def settings(**more: Any) -> Settings:
    return Settings(service_name="small", username="like", **{"offline_start": "earliest", **more})


class Member:
    """A reader with a loop on a thread of its own. work: seconds on each record, None: until finish() or drop_out()."""

    def __init__(
        self, address: str, topic: str, group: str, work: float | None = 0.0, begins: bool = True, limit: int = 0, **more: Any
    ):
        self.handed: list[Record] = []
        self.finished: list[Place] = []
        self.withdrawn: list[int] = []  # partitions
        self.begins = begins  # whether what is handed over is begun at once
        self._begun: dict[Place, Origin] = {}
        self._waiting: dict[Place, Origin] = {}
        self._work = work
        self.group = group
        self.registry = Metrics()
        self.metrics = OfflineMetrics(self.registry)
        connected = connection({"KAFKA_BROKERS": address}, "like/small/prod")
        self.reader = KafkaReader(reading_plan(connected, topic, group, settings(**more), limit), self.metrics)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.call(lambda: self.reader.start(self.take, self.withdraw))

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            self.handed.append(record)
            place = record.origin.partition, record.origin.offset
            (self._begun if self.begins else self._waiting)[place] = record.origin
            if self.begins and self._work is not None:
                self.loop.call_later(self._work, self._finish, place)

    def withdraw(self, topic: str, partition: int) -> Sequence[Origin]:
        self.withdrawn.append(partition)
        dropped = [place for place in self._waiting if place[0] == partition]
        return [self._waiting.pop(place) for place in dropped]

    def finish(self, offset: int, partition: int = 0) -> None:
        """Finish a record that was begun."""
        self.call(lambda: self._finish((partition, offset)))

    def _finish(self, place: Place) -> None:
        self.finished.append(place)
        self.reader.finished(self._begun.pop(place))

    def begin(self, offset: int, partition: int = 0) -> None:
        """Begin a record that waits."""
        self.call(lambda: self._begun.__setitem__((partition, offset), self._waiting.pop((partition, offset))))

    def places(self) -> list[Place]:
        """Return where the records stand that were handed over, in order."""
        return [(record.origin.partition, record.origin.offset) for record in list(self.handed)]

    def offsets(self) -> list[int]:
        return [offset for _, offset in self.places()]

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function on the loop, and return its result."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(120)

    def wait(self, coroutine: Any, seconds: float = 240) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def stop(self, seconds: float = 10.0) -> None:
        """Leave the group, and end the loop. A second call does nothing."""
        if self.loop.is_running():
            self.wait(self.reader.stop(seconds))
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(120)
            self.loop.close()


class MemberProcess:
    """A member in a process of its own."""

    def __init__(self, address: str, topic: str, group: str, file: Path, work: float = 0.0, deadly: str = "", **more: Any):
        self.file = file
        file.touch()
        command = [sys.executable, "-m", __name__, address, topic, group, str(file), str(work), deadly, json.dumps(more)]
        self.process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": PYTHONPATH})

    def places(self, what: str) -> list[Place]:
        """Return where the records stand of which the process wrote `what`, in order."""
        lines = [line.split() for line in self.file.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [(int(partition), int(offset)) for word, partition, offset in lines if word == what]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal, and wait for the end."""
        if self.process.poll() is None:
            self.send(number)
        return self.process.wait(240)


def main(address: str, topic: str, group: str, file: str, work: str, deadly: str, more: str) -> None:
    """Run a member until SIGTERM, or until reading ends by an error, which is exit status 1."""
    out = os.open(file, os.O_WRONLY | os.O_APPEND)

    class Writing(Member):
        def take(self, records: Sequence[Record]) -> None:
            for record in records:
                word = "refused" if record.refusal else "handed"
                os.write(out, f"{word} {record.origin.partition} {record.origin.offset}\n".encode())
                if deadly and record.value == deadly.encode() and not record.refusal:
                    os.kill(os.getpid(), signal.SIGKILL)
            super().take(records)

        def _finish(self, place: Place) -> None:
            os.write(out, f"finished {place[0]} {place[1]}\n".encode())
            super()._finish(place)

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    member = Writing(address, topic, group, work=float(work), **json.loads(more))
    ended = asyncio.run_coroutine_threadsafe(member.reader.ended(), member.loop)
    ended.add_done_callback(lambda done: done.cancelled() or os._exit(1))  # by an error, since no limit is set
    signal.sigwait({signal.SIGTERM})
    ended.cancel()
    member.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
