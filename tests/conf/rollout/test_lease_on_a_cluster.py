"""Leases of a real API server: held, waited for, taken over, lost, and deleted by their holder alone. Times are short."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from conf.base.object_references import Item, Ref
from conf.remote.cluster import Cluster, ClusterError, Refused, Unreachable
from conf.rollout import lease
from conf.rollout.lease import Busy, LeaseLost
from tests.conf.cluster import Cluster as Asked
from tests.waiting import until

pytestmark = pytest.mark.cluster
LASTS, WRITES = 5, 2  # seconds of a lease, and of a change at most: a busy API server answers within the rest


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", LASTS)
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.4)
    monkeypatch.setattr(lease, "FAILED_RENEWAL_SECONDS", 0.1)
    monkeypatch.setattr(lease, "RETRY_PAUSE", 0.1)
    monkeypatch.setattr(lease, "RETRIED_FOR", 3)
    monkeypatch.setattr(lease, "MAX_WRITE_SECONDS", WRITES)


@pytest.fixture
def cluster(servers: dict[str, Asked]) -> Cluster:
    return Cluster(servers["eu"].context)


@pytest.fixture
def name(user: str, cluster: Cluster) -> Iterator[Ref]:
    """A lease of the test's own."""
    found = Ref("Lease", user, f"lease-{uuid4().hex[:8]}")
    yield found
    cluster.delete(found)


def held(cluster: Cluster, name: Ref, who: str, wait: float = 0.0, said: list[str] | None = None) -> Any:
    return lease.hold(cluster, name.namespace, name.name, who, wait, (said if said is not None else []).append)


def left_behind(cluster: Cluster, name: Ref, **spec: Any) -> Item:
    """Make a lease that nobody renews."""
    metadata = {"name": name.name, "namespace": name.namespace}
    return cluster.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})


def holder(cluster: Cluster, name: Ref) -> str:
    found = cluster.get(name)
    return str(found["spec"].get("holderIdentity")) if found else "none"


def test_a_lease_is_renewed_while_it_is_held_and_gone_afterwards(cluster: Cluster, name: Ref) -> None:
    with held(cluster, name, "ann") as mine:
        assert holder(cluster, name).startswith("ann (")
        time.sleep(LASTS + 1)
        mine.check()
    assert cluster.get(name) is None


def test_a_second_holder_is_refused_once_the_first_was_seen_alive(cluster: Cluster, name: Ref) -> None:
    with held(cluster, name, "ann"):
        begin = time.monotonic()
        with pytest.raises(Busy, match=r"ann \(.*\) has been deploying it since 20.*--wait 600"), held(cluster, name, "ann"):
            pass
        assert time.monotonic() - begin < LASTS
        assert holder(cluster, name).startswith("ann (")


def test_a_second_holder_that_waits_comes_after_the_first(cluster: Cluster, name: Ref) -> None:
    done, said = [], list[str]()

    def second() -> None:
        with held(cluster, name, "bob", wait=120, said=said):
            done.append("bob")

    with held(cluster, name, "ann"):
        thread = threading.Thread(target=second)
        thread.start()
        until(lambda: bool(said))
        done.append("ann")
    thread.join()
    assert done == ["ann", "bob"]
    assert len(said) == 1


def test_the_lease_of_a_killed_job_is_taken_over_whatever_its_clock_said(cluster: Cluster, name: Ref) -> None:
    left_behind(cluster, name, holderIdentity="ann (1)", renewTime="2199-01-01T00:00:00.000000Z", leaseDurationSeconds=2)
    begin = time.monotonic()
    with held(cluster, name, "bob"):
        assert time.monotonic() - begin > 2
        assert holder(cluster, name).startswith("bob (")


def test_a_lease_without_a_holder_is_taken_at_once(cluster: Cluster, name: Ref) -> None:
    left_behind(cluster, name)
    begin = time.monotonic()
    with held(cluster, name, "bob"):
        assert time.monotonic() - begin < LASTS


def test_of_many_holders_that_begin_at_once_only_one_works_at_any_time(cluster: Cluster, name: Ref) -> None:
    at_work, most = 0, 0

    def job(number: int) -> None:
        nonlocal at_work, most
        with held(Cluster(cluster.context), name, f"job-{number}", wait=120):
            at_work += 1
            most = max(most, at_work)
            time.sleep(0.05)
            at_work -= 1

    threads = [threading.Thread(target=job, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (at_work, most) == (0, 1)


class UnreliableCluster(Cluster):
    """A cluster that takes no lease while `lost` is set. answers: False where only the answer to a write is lost."""

    lost, answers = False, True

    def replace(self, item: Item) -> Item:
        if self.lost and not self.answers:
            super().replace(item)  # the write is done, and its answer is lost
        if self.lost:
            raise Unreachable("lost")
        return super().replace(item)


def test_a_lease_that_cannot_be_renewed_is_lost_and_another_may_be_at_work(cluster: Cluster, name: Ref) -> None:
    unreliable = UnreliableCluster(cluster.context)
    with held(unreliable, name, "ann") as mine:
        unreliable.lost = True
        with held(cluster, name, "bob"):
            with pytest.raises(LeaseLost, match="another may be at work"):
                mine.check()
            with pytest.raises(LeaseLost):
                mine.retry(unreliable.get, name)
            unreliable.lost = False
            time.sleep(1)
            with pytest.raises(LeaseLost):
                mine.check()
            mine.release()
            assert holder(cluster, name).startswith("bob (")  # another holder's lease was not deleted


def test_a_renewal_counts_although_its_answer_was_lost(cluster: Cluster, name: Ref) -> None:
    unreliable = UnreliableCluster(cluster.context)
    with held(unreliable, name, "ann") as mine:
        unreliable.answers, unreliable.lost = False, True
        time.sleep(0.6)
        unreliable.lost = False
        time.sleep(LASTS + 1)
        mine.check()
    assert cluster.get(name) is None


def test_a_lost_request_is_sent_again_and_a_refused_one_is_not(cluster: Cluster, name: Ref) -> None:
    asked = []

    def flickering() -> str:
        asked.append(1)
        if len(asked) < 4:
            raise Unreachable("lost")
        return "answered"

    def refused() -> None:
        asked.append(1)
        raise Refused("no")

    with held(cluster, name, "ann") as mine:
        assert mine.retry(flickering) == "answered"
        with pytest.raises(ClusterError, match="no"):
            mine.retry(refused)
    assert len(asked) == 5


def test_a_request_that_always_fails_is_reported_once_and_given_up_though_the_lease_is_renewed(
    cluster: Cluster, name: Ref
) -> None:
    said: list[str] = []

    def in_trouble() -> None:
        raise Unreachable("cluster eu cannot answer (503)", 503)

    with held(cluster, name, "ann", said=said) as mine:
        begin = time.monotonic()
        with pytest.raises(Unreachable, match="503"):
            mine.retry(in_trouble)
        assert 3 < time.monotonic() - begin < 30
        mine.check()
    assert said == ["retrying for 3 s: cluster eu cannot answer (503)"]


def test_no_request_is_sent_that_could_take_effect_after_the_lease_ran_out(cluster: Cluster, name: Ref) -> None:
    unreliable = UnreliableCluster(cluster.context)
    asked = []
    with held(unreliable, name, "ann") as mine:
        unreliable.lost, begin = True, time.monotonic()
        with contextlib.suppress(LeaseLost):
            while True:
                mine.retry(lambda: asked.append(time.monotonic()))
                time.sleep(0.01)
        assert time.monotonic() - begin > LASTS - 1
    assert asked[0] < begin + 1
    assert asked[-1] < begin + LASTS - WRITES + 1


def test_a_renewal_that_comes_late_is_waited_for(cluster: Cluster, name: Ref) -> None:
    unreliable = UnreliableCluster(cluster.context)
    with held(unreliable, name, "ann") as mine:
        unreliable.lost = True
        time.sleep(LASTS - WRITES + 0.3)  # a change could take effect after the lease by now
        threading.Timer(0.2, setattr, (unreliable, "lost", False)).start()
        mine.retry(unreliable.get, name)
        mine.check()
