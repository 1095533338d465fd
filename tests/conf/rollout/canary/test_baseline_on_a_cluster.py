"""A canary whose baseline has no room is compared with the old pods.

Simulated nodes are enough, since verdicts are scripted.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from conf.base.object_references import MANAGER, Item, path
from conf.clusters.regions import load
from conf.remote.cluster import Cluster
from conf.render.arms import arm_names
from conf.rollout import history, release
from conf.rollout.canary import driver
from conf.rollout.canary.state import Canary, canary_of, describe
from conf.rollout.release import Held, ReleaseRequest
from conf.rollout.targets import Target
from conf.rules.check import check
from tests.conf.cluster import Cluster as Asked
from tests.conf.rollout.canary.scripted import ScriptedJudge, order
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.service_state import kinds, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
NAME = "the-service"
PODS, ARM = 2, 1  # pods of the service, and of each arm at a quarter of the requests
NOWHERE = "127.0.0.1:9/digits"  # nobody answers there, and nothing pulls the image
BEGUN = {"an-old-pod": {"counted": 5.0}}  # where a pod begins that could not be read when the step began
QUOTAS = "/api/v1/namespaces/{}/resourcequotas"


class BaselineFirst(Cluster):
    """A cluster in which the baseline's pods are there before the canary's are asked for, so that they get the room."""

    def __init__(self, context: str, service: str):
        super().__init__(context)
        self._canary, self._baseline = arm_names(service)
        self._waiting: Item | None = None

    def apply(self, item: Item, *, dry_run: bool = False, manager: str = MANAGER) -> Item:
        """Keep the canary's first Deployment until the baseline's has its pods."""
        name = item["metadata"]["name"] if item["kind"] == "Deployment" and not dry_run else ""
        if name == self._canary and self._waiting is None:
            self._waiting = item
            return item
        found = super().apply(item, dry_run=dry_run, manager=manager)
        if name == self._baseline and self._waiting:
            label = f"app.kubernetes.io/name={name}"
            until(lambda: len(self.find("Pod", item["metadata"]["namespace"], label)) == ARM)
            super().apply(self._waiting)
        return found


@pytest.fixture(scope="module")
def requests(user: str, servers: dict[str, Asked], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReleaseRequest]:
    """Releases of two versions."""
    mine = Checkout(tmp_path_factory.mktemp("canary") / "service", user, {"eu": servers["eu"].context}, NAME)
    mine.write_value(replicas=PODS)
    found = {}
    for tag in ("1", "2"):
        report = check(mine.folder, load(mine.regions_file), ("prod",), f"{NOWHERE}:{tag}")
        assert report.mistakes == []
        found[tag] = ReleaseRequest(report.rendered[0].items, tag, f"{NOWHERE}:{tag}")
    return found


def renamed(request: ReleaseRequest, name: str) -> ReleaseRequest:
    return replace(request, items=json.loads(json.dumps(request.items).replace(NAME, name)))


def state(there: Target) -> Canary:
    found = canary_of(history.read(there.cluster.get(there.history)).last)
    assert found is not None
    return found


def route(there: Target, eu: Asked) -> dict[str, int]:
    """Return the shares of a service's route."""
    rules = eu.ask("get", path("HTTPRoute", there.namespace, there.service))["spec"]["rules"]
    return {each["name"]: each["weight"] for each in rules[0]["backendRefs"]}


@pytest.mark.parametrize(
    ("first", "lacks", "cluster_of"),
    [("canary", "baseline", lambda context, _: Cluster(context)), ("baseline", "canary", BaselineFirst)],
    ids=["canary-first", "baseline-first"],
)
def test_where_the_quota_has_room_for_one_arm_alone_the_canary_gets_it_and_the_old_pods_are_compared(
    first: str,
    lacks: str,
    cluster_of: Callable[[str, str], Cluster],
    user: str,
    requests: dict[str, ReleaseRequest],
    servers: dict[str, Asked],
) -> None:
    """first: the arm whose pods get the room. lacks: the one that is refused pods then."""
    eu, told, name = servers["eu"], list[str](), f"{first}-first"
    there = Target(Cluster(eu.context), user, name, pod_timeout=3.0)
    crowded = replace(there, cluster=cluster_of(eu.context, name))
    asked = replace(order("unknown", shares=(25, 50)), judge=ScriptedJudge("unknown", begun=BEGUN))
    release.release(there, renamed(requests["1"], name), told.append)
    spec = {"hard": {"pods": str(len(eu.ask("get", path("Pod", user))["items"]) + ARM)}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": spec}
    with eu.having(QUOTAS.format(user), quota):
        until(lambda: "used" in str(eu.ask("get", f"{QUOTAS.format(user)}/tight").get("status")))
        with pytest.raises(Held):
            driver.release_by_canary(crowded, renamed(requests["2"], name), asked, told.append)
    assert any(line.startswith(f"{name}-{lacks}: the namespace's quota is spent") for line in told), told
    assert any("the old pods are compared: the namespace's quota is spent" in line for line in told), told
    assert route(there, eu) == {name: 75, f"{name}-canary": 25}
    assert kinds(eu, user, f"{name}-baseline") == set()
    assert (state(there).baseline, state(there).begin) == (False, BEGUN)
    reported = describe(state(there), "2", "", 0.0)
    assert any(line.startswith("it is compared with the old pods: the namespace's quota is spent") for line in reported)
    driver.go_on(there, order("good"), told.append)
    assert [kinds(eu, user, arm) for arm in there.arms] == [set(), set()]
    release.stop(there, told.append)
