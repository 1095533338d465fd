"""`monopod top` and `health` show a service that answers no request: a real offline process that a real Prometheus reads."""

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conf.commands.test_top_and_health import run
from tests.conf.observe.folders import write_regions, write_value
from tests.conf.observe.prometheus_server import prometheus
from tests.prerequisites import kafka
from tests.serving.offline import broker
from tests.serving.offline.offline_process import Offline, running, service, value
from tests.waiting import until

pytestmark = pytest.mark.offline

SCRAPED = {"namespace": "like", "service": "small-offline", "pod": "small-offline-1"}


class Seen(NamedTuple):
    """A service without online pods, its offline pod, and the Prometheus that reads it."""

    address: str
    topic: str
    pod: Offline
    folder: Path
    regions: Path

    def tracks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(run("top", self.folder, self.regions, "--json", "--track", "prod").out)
        return found

    def figure(self, name: str) -> float:
        (track,) = self.tracks()
        return sum(pod[name] or 0.0 for pod in track["pods"])


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    address, name = kafka(), f"monopod-test-{uuid.uuid4().hex[:12]}"
    topics = [name, f"{name}-answers", f"{name}-{name}-dead"]
    for topic in topics:
        broker.create_topic(address, topic)
    sinks = [f"kafka:{name}-answers"]
    folder = service(tmp_path / "pod", name, name, json.dumps(sinks))
    mine = write_value(tmp_path / "service", replicas=0, offline_source=f"kafka:{name}", offline_sinks=sinks)
    with running(folder, address) as pod, prometheus(tmp_path, [(pod.admin_port, SCRAPED)]) as url:
        until(pod.is_ready)
        yield Seen(address, name, pod, mine, write_regions(tmp_path, {"hk": url}))
    broker.delete_topics(address, topics)
    broker.delete_group(address, name)


def test_a_service_that_reads_records_alone_is_shown_and_judged_by_its_records(seen: Seen) -> None:
    numbers = iter(range(10**6))

    def reads(do: str, figure: str) -> bool:
        broker.produce(seen.address, seen.topic, [value(next(numbers), do) for _ in range(20)])
        return seen.figure(figure) > 0

    until(lambda: reads("", "rate"))
    top = run("top", seen.folder, seen.regions, "--track", "prod")
    assert re.search(r"^hk +prod offline +1 of 1 ready", top.out, re.MULTILINE), top.out
    assert "small-offline-1" in top.out
    assert "unknown" not in top.out
    health = run("health", seen.folder, seen.regions)
    assert re.fullmatch(r"hk, prod offline: well: 1 pod, \S+ records a second, \d+ wait\n", health.out), health.out
    assert health.status == 0
    until(lambda: reads("refuse", "errors"))
    (pod,) = seen.tracks()[0]["pods"]
    assert 0 < pod["errors"] <= pod["rate"]
    assert (pod["queue_rows"] is None, pod["held"], pod["away"], pod["p95"]) == (False, 0, 0, None)
    health = run("health", seen.folder, seen.regions)
    assert "hk, prod offline: " in health.out
    assert "% of the records become dead letters" in health.out
    assert health.status in (40, 41)
    seen.pod.process.kill()
    until(lambda: not seen.tracks()[0]["pods"])
    health = run("health", seen.folder, seen.regions)
    assert health.status == 42
    assert "like/small-offline: has its PodMonitor" in health.out
