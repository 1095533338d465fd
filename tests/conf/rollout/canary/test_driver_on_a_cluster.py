"""Canaries that break off after each of their changes: the next command goes on or goes back, and nothing is left.

Simulated nodes are enough, whose pods are ready at once and run nothing: verdicts are scripted.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from conf.base.object_references import MANAGER, Item, Ref, path
from conf.remote.cluster import Cluster
from conf.render.arms import arm_names
from conf.rollout import history, release
from conf.rollout.canary import driver
from conf.rollout.canary.state import Canary, canary_of, describe
from conf.rollout.history import GOOD
from conf.rollout.readiness import running_pods
from conf.rollout.release import Held, NoRelease, Rejected, ReleaseRequest, Undone
from conf.rollout.targets import Blocked, Target
from tests.conf.cluster import Cluster as Asked
from tests.conf.rollout.canary.scripted import RULES, ScriptedJudge, order
from tests.conf.rollout.service_state import kinds, until
from tests.conf.rollout.test_every_step_on_a_cluster import AT_ONCE, Breaking, BrokenOff, release_requests, renamed, silent

pytestmark = pytest.mark.cluster
PODS = 3
NOWHERE = "127.0.0.1:9/digits"  # nobody answers there, and nothing pulls the image


@pytest.fixture(scope="module")
def requests(user: str, servers: dict[str, Asked], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReleaseRequest]:
    """Releases of three versions, the second with an autoscaler, which the other two have not."""
    fixed = {"replicas": PODS}
    versions = {"1": fixed, "2": {**fixed, "max_replicas": 4}, "3": fixed}
    return release_requests(tmp_path_factory.mktemp("canary"), user, servers["eu"], versions, lambda tag: f"{NOWHERE}:{tag}")


@pytest.fixture
def first(user: str, requests: dict[str, ReleaseRequest], servers: dict[str, Asked]) -> Callable[[str], Target]:
    """Return a function that makes a service of a name, of version 1 with three pods."""

    def made(name: str) -> Target:
        there = Target(Cluster(servers["eu"].context), user, name)
        release.release(there, renamed(requests["1"], name), silent)
        return there

    return made


def route(there: Target) -> dict[str, int]:
    """Return the shares of a service's route. A route to one Service has no share in it."""
    item = there.cluster.get(Ref("HTTPRoute", there.namespace, there.service))
    assert item is not None
    (found,) = {tuple((each["name"], each.get("weight", 1)) for each in rule["backendRefs"]) for rule in item["spec"]["rules"]}
    return {name: weight if len(found) > 1 else 100 for name, weight in found}


def versions(there: Target) -> set[str]:
    return set(running_pods(there.cluster, there.namespace, (*there.names, *there.arms)).versions)


def last(there: Target) -> history.Release:
    found = history.read(there.cluster.get(there.history)).last
    assert found is not None
    return found


def assert_clean(there: Target, eu: Asked, version: str) -> None:
    """Assert that a version serves with no more than its own objects, and that no arm is left."""
    assert versions(there) == {version}
    assert route(there) == {there.service: 100}
    ended = last(there)
    assert ended.state == GOOD
    assert {each.name for each in ended.inventory} == {there.service}
    assert {each.kind for each in ended.inventory} == kinds(eu, there.namespace, there.service)
    assert [kinds(eu, there.namespace, name) for name in there.arms] == [set(), set()]


def test_a_good_canary_takes_over_and_leaves_nothing(
    first: Callable[[str], Target], requests: dict[str, ReleaseRequest], servers: dict[str, Asked]
) -> None:
    there, told = first("good"), list[str]()
    done = driver.release_by_canary(there, renamed(requests["2"], "good"), order("unknown", "good"), told.append)
    assert (done.release.version, done.unchanged) == ("2", False)
    assert_clean(there, servers["eu"], "2")
    shares = [line.partition("shares are set: ")[2] for line in told if "shares are set: " in line]
    assert shares == ["good 90 %, good-canary 5 %, good-baseline 5 %", "good-canary 50 %, good-baseline 50 %"]
    again = driver.release_by_canary(there, renamed(requests["2"], "good"), order("worse"), told.append)
    assert again.unchanged


@pytest.mark.parametrize(("states", "trouble"), [(("unknown", "worse"), ""), (("good",), "restarts: 1")])
def test_a_worse_canary_is_taken_back_and_no_old_pod_was_touched(
    states: tuple[str, ...],
    trouble: str,
    first: Callable[[str], Target],
    requests: dict[str, ReleaseRequest],
    servers: dict[str, Asked],
) -> None:
    name = f"worse-{len(states)}"
    there = first(name)
    before = {pod["metadata"]["uid"] for pod in there.cluster.find("Pod", there.namespace, f"app={name}")}
    with pytest.raises(Undone) as raised:
        driver.release_by_canary(there, renamed(requests["2"], name), order(*states, trouble=trouble), silent)
    assert isinstance(raised.value.cause, Rejected)
    assert "taken back at 5 %" in str(raised.value.cause)
    assert {pod["metadata"]["uid"] for pod in there.cluster.find("Pod", there.namespace, f"app={name}")} == before
    assert (versions(there), route(there)) == ({"1"}, {name: 100})
    assert [kinds(servers["eu"], there.namespace, each) for each in there.arms] == [set(), set()]


def test_an_undecided_canary_is_held_until_a_command_goes_on_or_goes_back(
    first: Callable[[str], Target], requests: dict[str, ReleaseRequest], servers: dict[str, Asked]
) -> None:
    there = first("held")
    wanted = renamed(requests["2"], "held")
    with pytest.raises(Held, match="deploy --continue"):
        driver.release_by_canary(there, wanted, order("unknown"), silent)
    found = canary_of(last(there))
    assert found is not None
    assert (found.phase, found.share, found.verdicts[-1].state) == ("held", 5, "unknown")
    assert route(there) == {"held": 90, "held-canary": 5, "held-baseline": 5}
    with pytest.raises(Blocked, match="the canary of 2 has not come to its end; run deploy --continue or rollback"):
        release.restart(there, silent)
    told = list[str]()
    with pytest.raises(Held):
        driver.go_on(there, order("good", "unknown"), told.append)
    assert route(there) == {"held-canary": 50, "held-baseline": 50}
    assert driver.go_on(there, order("good"), told.append).release.version == "2"
    assert [line for line in told if line.rstrip().endswith(":")] == []  # a line with no verdict yet
    assert_clean(there, servers["eu"], "2")
    with pytest.raises(NoRelease, match="no canary to go on with"):
        driver.go_on(there, order("good"), silent)


def test_an_arm_without_a_ready_pod_loses_its_share_and_gets_it_back(
    first: Callable[[str], Target], requests: dict[str, ReleaseRequest]
) -> None:
    there, told = first("absent"), list[str]()
    seen: list[dict[str, int]] = []
    where = Ref("Deployment", there.namespace, "absent-canary")

    def tell(words: str) -> None:
        """Take the canary's pods away once it is judged, and give them back once it has lost its share."""
        told.append(words)
        if "shares are set" in words and len(seen) == 0:
            scale(there, where, 0)
            seen.append(route(there))
        if "has no ready pod" in words:
            seen.append(route(there))
            scale(there, where, 1)
        if "have ready pods again" in words:
            seen.append(route(there))
            judge.states = ["good"]

    judge = ScriptedJudge("unknown")
    slow = replace(order("unknown", shares=(5,)), rules=replace(RULES, step_seconds=240.0, pod_seconds=240.0), judge=judge)
    driver.release_by_canary(there, renamed(requests["2"], "absent"), slow, tell)
    shared = {"absent": 90, "absent-canary": 5, "absent-baseline": 5}
    assert seen == [shared, {"absent": 100}, shared]


def scale(there: Target, where: Ref, pods: int) -> None:
    metadata = {"name": where.name, "namespace": where.namespace}
    item = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": pods}}
    there.cluster.apply(item, manager="kubectl-scale")


def go_on(there: Target, requests: dict[str, ReleaseRequest]) -> str:
    """Go on; return the version that is to serve then. A canary that was broken off before its begin is deployed again."""
    try:
        driver.go_on(there, order("good"), silent)
    except NoRelease:
        driver.release_by_canary(there, renamed(requests["2"], there.service), order("good"), silent)
    return "2"


def deploy(there: Target, requests: dict[str, ReleaseRequest]) -> str:
    release.release(there, renamed(requests["3"], there.service), silent)
    return "3"


def roll_back(there: Target, requests: dict[str, ReleaseRequest]) -> str:
    """Roll back what is begun. A canary that has come to its end is one that serves, and is left too."""
    release.roll_back(there, silent, lambda _: None, "1")
    return "1"


@pytest.mark.parametrize(("act", "every"), [(go_on, 5), (deploy, 9), (roll_back, 9)])
def test_the_next_command_goes_on_or_back_whichever_change_was_the_last(
    act: Callable[[Target, dict[str, ReleaseRequest]], str],
    every: int,
    first: Callable[[str], Target],
    requests: dict[str, ReleaseRequest],
    servers: dict[str, Asked],
) -> None:
    eu = servers["eu"]

    def broken_off(changes: int) -> int:
        """Break a canary off after a number of changes, never for 0, and return how many changes there were."""
        there = first(f"{act.__name__.replace('_', '-')}-{changes}")
        breaking = Breaking(eu.context, changes)
        try:
            wanted = renamed(requests["2"], there.service)
            driver.release_by_canary(replace(there, cluster=breaking), wanted, order("good"), silent)
            assert changes == 0
        except BrokenOff:
            pass
        served = {name for name in route(there) if running_pods(there.cluster, there.namespace, [name]).versions}
        assert served == set(route(there)), f"after {changes} changes a share leads to no pod"
        old = running_pods(there.cluster, there.namespace, [there.service])
        assert sum(old.versions.values()) >= PODS, f"fewer old pods after {changes} changes"
        if changes:
            assert_clean(there, eu, act(there, requests))
        return breaking.made

    total = broken_off(0)
    assert total > 40
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(pool.map(broken_off, range(2, total + 1, every)))  # 1 is its lease, which is waited for elsewhere


def test_a_stop_removes_a_canary_with_all_its_arms(
    first: Callable[[str], Target], requests: dict[str, ReleaseRequest], servers: dict[str, Asked]
) -> None:
    there = first("ended")
    with pytest.raises(Held):
        driver.release_by_canary(there, renamed(requests["2"], "ended"), order("unknown"), silent)
    release.stop(there, silent)
    assert [kinds(servers["eu"], there.namespace, each) for each in (*there.names, *there.arms)] == [set()] * 4
    assert there.cluster.get(there.history) is None


def test_a_first_release_is_an_ordinary_one(user: str, requests: dict[str, ReleaseRequest], servers: dict[str, Asked]) -> None:
    there, told = Target(Cluster(servers["eu"].context), user, "fresh"), list[str]()
    assert driver.release_by_canary(there, renamed(requests["1"], "fresh"), order("worse"), told.append).release.version == "1"
    assert "no canary: there are no ready pods of an older release to compare with" in told


ARM = 1  # pods of each arm at a quarter of the requests
FOUND_LATE = {"an-old-pod": {"counted": 5.0}}  # where a pod begins that could not be read when the step began
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


def state(there: Target) -> Canary:
    found = canary_of(history.read(there.cluster.get(there.history)).last)
    assert found is not None
    return found


@pytest.mark.timeout(300)
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
    asked = replace(order("unknown", shares=(25, 50)), judge=ScriptedJudge("unknown", begun=FOUND_LATE))
    release.release(there, renamed(requests["1"], name), told.append)
    spec = {"hard": {"pods": str(len(eu.ask("get", path("Pod", user))["items"]) + ARM)}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": spec}
    with eu.having(QUOTAS.format(user), quota):
        until(lambda: "used" in str(eu.ask("get", f"{QUOTAS.format(user)}/tight").get("status")))
        with pytest.raises(Held):
            driver.release_by_canary(crowded, renamed(requests["2"], name), asked, told.append)
    assert any(line.startswith(f"{name}-{lacks}: the namespace's quota is spent") for line in told), told
    assert any("the old pods are compared" in line for line in told), told
    assert route(there) == {name: 75, f"{name}-canary": 25}
    assert kinds(eu, user, f"{name}-baseline") == set()
    assert (state(there).baseline, state(there).begin) == (False, FOUND_LATE)
    reported = describe(state(there), "2", "", 0.0)
    assert any(line.startswith("it is compared with the old pods: the namespace's quota is spent") for line in reported)
    driver.go_on(there, order("good"), told.append)
    assert [kinds(eu, user, arm) for arm in there.arms] == [set(), set()]
    release.stop(there, told.append)
