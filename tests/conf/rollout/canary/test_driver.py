"""Canaries whose Prometheus is away, or whose pods go while others end, in a cluster that a test simulates."""

import copy
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conf.base.object_references import MANAGER, Item, Ref
from conf.observe.prometheus import NoFigures
from conf.remote.cluster import Cluster
from conf.rollout import release, removal
from conf.rollout.canary import arms, driver, judge
from conf.rollout.canary.judge import NotScraped
from conf.rollout.release import ReleaseRequest
from conf.rollout.report import error_status
from conf.rollout.targets import Blocked, Target
from tests.conf.cluster import Cluster as Asked
from tests.conf.rollout.canary.scripted import ScriptedJudge, order
from tests.conf.rollout.test_every_step_on_a_cluster import NAME, release_requests, silent
from tests.conf.rollout.test_removal import Clock

USER, PODS, SHARES = "like", 3, (5, 50)
CANARY, BASELINE = f"{NAME}-canary", f"{NAME}-baseline"


class Objects:
    """A cluster's objects by kind and name, with pods that are ready at once.

    room: how many pods of a Deployment have room. looks: for how many looks a deleted Deployment stays.
    """

    context = "nowhere"

    def __init__(self) -> None:
        self.there: dict[tuple[str, str], Item] = {}
        self.room: dict[str, int] = {}
        self.looks: dict[str, int] = {}

    def get(self, each: Ref) -> Item | None:
        found = self.there.get((each.kind, each.name))
        if found and each.kind == "Deployment":
            if "deletionTimestamp" in found["metadata"]:
                self.looks[each.name] -= 1
                if self.looks[each.name] <= 0:
                    del self.there[each.kind, each.name]
                    return None
            count = found["spec"]["replicas"]
            ready = min(count, self.room.get(each.name, count))
            found = {**found, "status": {"observedGeneration": 1, "updatedReplicas": count, "replicas": count}}
            found["status"]["availableReplicas"] = ready
        return found

    def find(self, kind: str, namespace: str, labels: str = "", fields: str = "") -> list[Item]:
        named = re.findall(r"[\w-]+", labels) if kind == "Pod" else ()
        return [pod for name in named for pod in self._pods(name)]

    def _pods(self, name: str) -> Iterator[Item]:
        item = self.get(Ref("Deployment", USER, name))
        for _ in range(item["status"]["availableReplicas"] if item else 0):
            template = copy.deepcopy(cast(Item, item)["spec"]["template"])
            template["metadata"] |= {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            yield {**template, "status": {"conditions": [ready]}}

    def apply(self, item: Item, *, dry_run: bool = False, manager: str = MANAGER) -> Item:
        own = {"uid": f"{item['kind']} {item['metadata']['name']}", "generation": 1, "managedFields": [{"manager": manager}]}
        made: Item = copy.deepcopy({**item, "metadata": {**item["metadata"], **own, "resourceVersion": "1"}})
        if not dry_run:
            self.there[item["kind"], item["metadata"]["name"]] = made
        return made

    create = replace = apply

    def delete(self, each: Ref, version: str = "", *, alone: bool = False) -> Item:
        if each.kind != "Deployment" or each.name not in self.looks:
            return self.there.pop((each.kind, each.name))
        found = self.there[each.kind, each.name]
        found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return found

    def found(self, where: str) -> Item:
        return {"path": where}  # a Secret

    def raw(self, where: str) -> Item:
        return {"items": []}  # no quota

    def shares(self) -> dict[str, int]:
        (rule, *_) = self.there["HTTPRoute", NAME]["spec"]["rules"]
        return {each["name"]: each.get("weight", 100) if len(rule["backendRefs"]) > 1 else 100 for each in rule["backendRefs"]}


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReleaseRequest]:
    folder, nowhere = tmp_path_factory.mktemp("canary"), cast(Asked, SimpleNamespace(context="nowhere"))
    versions: dict[str, dict[str, Any]] = {"1": {"replicas": PODS}, "2": {"replicas": PODS}}
    return release_requests(folder, USER, nowhere, versions, lambda tag: f"127.0.0.1:9/digits:{tag}")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (arms, "LOOK_SECONDS", 0.0),
        (driver, "LOOK_SECONDS", 0.01),
        (driver, "END_PAUSE", 0.0),
        (removal, "END_PAUSE", 0.0),
        (removal, "POLL_SECONDS", 0.01),
        (judge, "BEGIN_SECONDS", 0.0),
    ):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def objects(requests: dict[str, ReleaseRequest]) -> Objects:
    """Return a cluster in which version 1 serves."""
    made = Objects()
    release.release(target(made), requests["1"], silent)
    return made


def target(objects: Objects) -> Target:
    return Target(cast(Cluster, objects), USER, NAME, pod_timeout=0.3)


def asked(*states: str) -> tuple[driver.Order, ScriptedJudge]:
    made = order(*states, shares=SHARES)
    return made, cast(ScriptedJudge, made.judge)


def assert_serves_alone(objects: Objects, version: str) -> None:
    found = {
        name: item["metadata"]["labels"]["version"] for (kind, name), item in objects.there.items() if kind == "Deployment"
    }
    assert (found, objects.shares()) == ({NAME: version}, {NAME: 100})


@pytest.mark.parametrize(
    ("error", "seconds", "waits"),
    [(NoFigures("Prometheus is away"), 0, 0), (NotScraped("no series yet"), 90, 1)],
    ids=["away", "unscraped"],
)
def test_no_canary_is_begun_and_nothing_written_where_prometheus_does_not_know_the_pods(
    error: NoFigures,
    seconds: float,
    waits: int,
    objects: Objects,
    requests: dict[str, ReleaseRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, told, before = Clock(), list[str](), copy.deepcopy(objects.there)
    monkeypatch.setattr(driver, "time", clock)
    wanted, judging = asked("good")
    judging.unplanned = [error] * 1000
    with pytest.raises(Blocked, match=str(error)) as raised:
        driver.release_by_canary(target(objects), requests["2"], wanted, told.append)
    assert error_status(raised.value) == 19
    assert seconds <= clock.now <= seconds + 2
    assert [line.startswith("waiting: ") for line in told] == [True] * waits
    assert objects.there == before


def test_a_canary_is_begun_once_prometheus_knows_the_pods(objects: Objects, requests: dict[str, ReleaseRequest]) -> None:
    told = list[str]()
    wanted, judging = asked("good")
    judging.unplanned = [NotScraped("no series yet")]
    assert driver.release_by_canary(target(objects), requests["2"], wanted, told.append).release.version == "2"
    assert told[0] == "waiting: no series yet"
    assert_serves_alone(objects, "2")


def test_a_step_at_whose_begin_prometheus_is_away_keeps_its_share_and_goes_on(
    objects: Objects, requests: dict[str, ReleaseRequest]
) -> None:
    found = list[tuple[str, dict[str, int]]]()

    def tell(words: str) -> None:
        if "cannot be read" in words:
            found.append((words, objects.shares()))

    wanted, judging = asked("good")
    judging.unbegun = [NoFigures("Prometheus is away")]
    assert driver.release_by_canary(target(objects), requests["2"], wanted, tell).release.version == "2"
    ((words, shares),) = found
    assert "Prometheus is away" in words
    assert shares == {NAME: 90, CANARY: 5, BASELINE: 5}
    assert_serves_alone(objects, "2")


@pytest.mark.parametrize(
    ("room", "shared"),
    [({}, {NAME: 50, CANARY: 50}), ({BASELINE: 1}, {NAME: 95, CANARY: 5})],
    ids=["take-over", "no-room-at-the-second-step"],
)
def test_a_canary_whose_pods_go_while_the_baseline_ends_loses_its_share_meanwhile(
    room: dict[str, int], shared: dict[str, int], objects: Objects, requests: dict[str, ReleaseRequest]
) -> None:
    objects.room, objects.looks, found = dict(room), {BASELINE: 100}, list[dict[str, int]]()

    def tell(words: str) -> None:
        """Take the canary's pods away as the baseline ends, which it does once the canary has lost its share."""
        if words.startswith("waiting until Deployment"):
            objects.room[CANARY] = 0
            found.append(objects.shares())
        if "has no ready pod" in words and objects.looks[BASELINE] > 0:
            found.append(objects.shares())
            objects.room.pop(CANARY)
            objects.looks[BASELINE] = 0

    wanted, _ = asked("good")
    driver.release_by_canary(target(objects), requests["2"], wanted, tell)
    assert found == [shared, {NAME: 100}]
    assert_serves_alone(objects, "2")
