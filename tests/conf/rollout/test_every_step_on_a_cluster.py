"""Releases, undoings, restarts and stops that break off after each of their changes: something serves meanwhile, and the next
run leaves exactly what it brings.
"""

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conf.base.object_references import Item
from conf.clusters.regions import load
from conf.remote.cluster import Cluster
from conf.rollout import history, release
from conf.rollout.history import GOOD
from conf.rollout.readiness import NotReady, running_pods
from conf.rollout.release import ReleaseRequest
from conf.rollout.targets import Target
from conf.rules.check import check
from tests.conf.cluster import Cluster as Asked
from tests.conf.rollout.checkout import UNUSED_LABEL, Checkout
from tests.conf.rollout.images import image
from tests.conf.rollout.service_state import kinds

pytestmark = pytest.mark.cluster
AT_ONCE = 8
NAME = "the-service"


class BrokenOff(BaseException):
    """Stands for the kill of a job."""


class Breaking(Cluster):
    """A cluster whose n-th change is the last that a job makes."""

    def __init__(self, context: str, changes: int):
        super().__init__(context)
        self.last, self.made = changes, 0

    def _text(self, method: str, where: str, body: Item | None, query: list[tuple[str, str]] | None, kind: str) -> str:
        answer = super()._text(method, where, body, query, kind)
        renews = method == "PUT" and "/leases/" in where  # another thread sends these
        if method != "GET" and not renews and ("dryRun", "All") not in (query or []):
            self.made += 1
            if self.made == self.last:
                raise BrokenOff
        return answer


def release_requests(
    folder: Path, user: str, eu: Asked, versions: dict[str, dict[str, Any]], image_of: Callable[[str], str] = image
) -> dict[str, ReleaseRequest]:
    """Return a release of NAME for each version. versions: its settings, by its tag."""
    mine = Checkout(folder / "service", user, {"eu": eu.context}, NAME)
    found = {}
    for tag, settings in versions.items():
        mine.write_value(**settings)
        report = check(mine.folder, load(mine.regions_file), ("prod",), image_of(tag))
        assert report.mistakes == []
        found[tag] = ReleaseRequest(report.rendered[0].items, tag, image_of(tag))
    return found


@pytest.fixture(scope="module")
def orders(user: str, servers: dict[str, Asked], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReleaseRequest]:
    """A first release, one of more objects, one that no node takes, and a last one. The service is renamed later."""
    versions: dict[str, dict[str, Any]] = {"1": {}, "2": {"max_replicas": 2}, "3": {}}
    versions["stuck"] = {"max_replicas": 2, "node_labels": UNUSED_LABEL}
    return release_requests(tmp_path_factory.mktemp("every"), user, servers["eu"], versions)


def renamed(order: ReleaseRequest, name: str) -> ReleaseRequest:
    return replace(order, items=json.loads(json.dumps(order.items).replace(NAME, name)))


def silent(words: str) -> None:
    """Discard the messages."""


def deploy(there: Target, orders: dict[str, ReleaseRequest]) -> None:
    release.release(there, renamed(orders["2"], there.service), silent)


def fail(there: Target, orders: dict[str, ReleaseRequest]) -> None:
    with pytest.raises(release.Undone) as raised:
        release.release(replace(there, pod_timeout=0.3), renamed(orders["stuck"], there.service), silent)
    assert isinstance(raised.value.cause, NotReady)


def restart(there: Target, orders: dict[str, ReleaseRequest]) -> None:
    release.restart(there, silent)


def stop(there: Target, orders: dict[str, ReleaseRequest]) -> None:
    release.stop(there, silent)


@pytest.mark.parametrize(("act", "serves", "every"), [(deploy, True, 1), (fail, True, 3), (restart, True, 3), (stop, False, 3)])
def test_the_next_deploy_goes_on_whichever_change_was_the_last(
    act: Callable[[Target, dict[str, ReleaseRequest]], None],
    serves: bool,
    every: int,
    user: str,
    orders: dict[str, ReleaseRequest],
    servers: dict[str, Asked],
) -> None:
    eu = servers["eu"]

    def broken_off(changes: int) -> int:
        """Break off after a number of changes, never for 0, and return how many changes there were."""
        there = Target(Cluster(eu.context), user, f"{act.__name__}-{changes}")
        release.release(there, renamed(orders["1"], there.service), silent)
        breaking = Breaking(eu.context, changes)
        with contextlib.nullcontext() if changes == 0 else pytest.raises(BrokenOff):
            act(replace(there, cluster=breaking), orders)
        assert running_pods(there.cluster, there.namespace, there.names).versions or not serves, (
            f"nothing serves after {changes} changes"
        )
        done = release.release(there, renamed(orders["3"], there.service), silent).release
        items = [there.cluster.get(each) for each in done.inventory]
        assert {each.kind for each in done.inventory} == kinds(eu, user, there.service), f"after {changes} changes"
        assert {item["metadata"]["labels"]["version"] for item in items if item} == {"3"}
        last = history.read(there.cluster.get(there.history)).last
        assert last is not None
        assert (last.state, last.inventory) == (GOOD, done.inventory)
        assert set(running_pods(there.cluster, there.namespace, there.names).versions) == {"3"}
        return breaking.made

    total = broken_off(0)
    assert total > 10
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(pool.map(broken_off, range(2, total + 1, every)))  # 1 is its lease, which is waited for elsewhere
