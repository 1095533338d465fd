"""A service whose offline pods read a real broker on a real node: released, rolled back, undone, stopped.

Every record that is written has an answer in the end. The topics' names stand in the image, so that one test runs at a time.
"""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.images import OFFLINE_SETTINGS, tagged
from tests.conf.rollout.offline_service import (
    DEAD,
    GROUP,
    OFFLINE,
    PARTITIONS,
    SECONDS,
    SINK,
    SOURCE,
    offline_pods,
    ready,
    record,
)
from tests.conf.rollout.service_state import kinds, status_row, until
from tests.dashboards.real_prometheus import PrometheusServer
from tests.dashboards.test_every_query_on_a_cluster import lack
from tests.dashboards.written import EVERY
from tests.prerequisites import kafka_for_pods, missing
from tests.serving.offline import broker

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.usefixtures("images", "prompt_reload")]

NUMBERS = itertools.count()  # of records, each once
MAY_BE_ZERO = {  # these tests have no trouble of this kind, or it is over before a scrape sees it
    f"offline: {panel} (A)"
    for panel in (
        "Lag by partition",
        "Age of the oldest record",
        "Records in flight",
        "Lost to retention",
        "Answers that wait",
        "Away",
        "Brokers away",
        "Further tries",
        "Reading is stopped",
        "Rebalances",
    )
}


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """The broker's address, with empty topics, and no group."""
    address = kafka_for_pods()

    def clear() -> None:
        broker.delete_topics(address, [SOURCE, SINK, DEAD])
        broker.delete_group(address, GROUP)

    clear()
    for name, partitions in ((SOURCE, PARTITIONS), (SINK, 1), (DEAD, 1)):
        until(lambda name=name: not broker.exists(address, name))  # type: ignore[misc]
        broker.create_topic(address, name, partitions)
    yield address
    clear()


@pytest.fixture(scope="module")
def reading(user: str, hk: Cluster, brokers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A service with one online and one offline pod, which Prometheus reads. All tests share it: each release takes time."""
    mine = Checkout(tmp_path_factory.mktemp("reading") / "service", user, {"hk": hk.context})
    prometheus = json.loads(mine.regions_file.read_text())["regions"]["hk"]["prometheus"]
    mine.set_region(kafka={"brokers": [brokers]}, prometheus={**prometheus, "labels": {"release": "prometheus"}})
    mine.write_value(replicas=1, **OFFLINE_SETTINGS)
    mine.run("deploy", tag="offline")
    yield mine
    if kinds(hk, user, OFFLINE):  # a test may have stopped it
        mine.run("stop", "--yes")


@pytest.fixture(scope="module")
def begin(reading: Checkout) -> float:
    """The time from which the service's figures are looked at, in seconds since 1970."""
    return time.time()


def answered(brokers: str) -> set[int]:
    """Return the numbers of the records that have an answer."""
    return {int(json.loads(each.value() or b"{}")["postid"]) for each in broker.records(brokers, SINK)}


@contextmanager
def writing(brokers: str) -> Iterator[list[int]]:
    """Write records to all partitions, in turn, for the length of a block. Yield the numbers of those that are written."""
    written: list[int] = []
    ends = threading.Event()

    def write() -> None:
        for number in NUMBERS:
            if ends.wait(0.05):
                return
            broker.produce(brokers, SOURCE, [record(number)], number % PARTITIONS)
            written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield written
    finally:
        ends.set()
        writer.join()


def versions(hk: Cluster, reading: Checkout) -> set[str]:
    return {pod["metadata"]["labels"]["version"] for pod in offline_pods(hk, reading)}


def test_every_record_is_answered_over_a_release_a_deleted_pod_and_a_rollback(
    reading: Checkout, begin: float, hk: Cluster, brokers: str
) -> None:
    tagged("offline-2", "offline")
    with writing(brokers) as written:
        until(lambda: len(answered(brokers)) > 20, SECONDS)
        reading.run("deploy", tag="offline-2")
        assert versions(hk, reading) == {"offline-2"}
        (pod,) = offline_pods(hk, reading)
        hk.ask("delete", path("Pod", reading.user, pod["metadata"]["name"]))
        until(lambda: ready(hk, reading) == 1, SECONDS)
        reading.run("rollback")
        assert versions(hk, reading) == {"offline"}
    until(lambda: answered(brokers) >= set(written), SECONDS)
    row = status_row(reading)
    assert (row["ready"], row["offline"]["ready"], row["offline"]["wanted"], row["troubles"]) == (1, 1, 1, [])


def test_status_tells_lag_and_dead_letters(reading: Checkout, hk: Cluster, brokers: str) -> None:
    first, second = next(NUMBERS), next(NUMBERS)
    broker.produce(brokers, SOURCE, [record(first), b"{ this is no JSON", record(second)])
    until(lambda: answered(brokers) >= {first, second}, SECONDS)

    def is_scraped() -> bool:
        found = status_row(reading, status=None)["offline"]
        return (found["lag"], found["dead_letters"]) == (0, 1)

    until(is_scraped, SECONDS)
    assert status_row(reading)["offline"]["note"] == ""
    assert len(broker.records(brokers, DEAD)) == 1
    assert "offline pods" in reading.run("status").out
    assert {"Deployment", "PodMonitor", "NetworkPolicy"} <= kinds(hk, reading.user, OFFLINE)


def test_every_query_of_the_dashboard_returns_data(reading: Checkout, begin: float, hk: Cluster, brokers: str) -> None:
    if hk.find(path("Service", "monitoring", "prometheus")) is None:
        missing("Prometheus is not on this cluster: have it answer at prometheus.monitoring:9090")
    prometheus = PrometheusServer.of(hk, begin)
    lacking = {str(query): query for query in EVERY if query.dashboard == "offline"}
    assert lacking.keys() >= MAY_BE_ZERO
    why: dict[str, str] = {}

    def all_pass() -> bool:
        broker.produce(brokers, SOURCE, [record(next(NUMBERS)), b"{ this is no JSON"])
        with suppress(AssertionError):  # a variable has no value yet
            values = prometheus.chosen("offline", {"user": "like", "service": OFFLINE})  # as the image says
            for name, query in list(lacking.items()):
                why[name] = lack(query, prometheus.shown(query, values), 1, name in MAY_BE_ZERO)
                if not why[name]:
                    del lacking[name]
        return not lacking

    with suppress(TimeoutError, AssertionError):
        until(all_pass, 2 * SECONDS)
    assert {name: why.get(name, "no value of a variable") for name in lacking} == {}


def test_a_release_whose_pods_crash_is_undone_and_the_older_offline_pods_go_on(
    reading: Checkout, hk: Cluster, brokers: str
) -> None:
    reading.write_value(replicas=0, **OFFLINE_SETTINGS, offline_replicas=PARTITIONS + 1)
    reading.run("deploy", tag="offline")
    assert kinds(hk, reading.user, "digits") == set()
    idle = f"1 of its pods has no partition to read, since the topic has {PARTITIONS}"
    until(lambda: status_row(reading, status=None)["offline"]["note"] == idle, SECONDS)
    done = reading.run("deploy", tag="crash", status=21)
    assert f"pod {OFFLINE}" in done.text
    assert versions(hk, reading) == {"offline"}
    number = next(NUMBERS)
    broker.produce(brokers, SOURCE, [record(number)])
    until(lambda: number in answered(brokers), SECONDS)
    assert status_row(reading, status=None)["offline"]["ready"] == PARTITIONS + 1


def test_a_stop_takes_all_of_it_away(reading: Checkout, hk: Cluster) -> None:
    reading.run("stop", "--yes")
    assert kinds(hk, reading.user, OFFLINE) | kinds(hk, reading.user, "digits") == set()
