"""The history of releases: written to a ConfigMap, read back, and asked which objects may be in the cluster."""

import dataclasses
import json
import random
from typing import Any

import pytest

from conf.base.object_references import APPLIED, Item, Ref, dropped, path, ref
from conf.rollout import history
from conf.rollout.canary.state import Canary, StepVerdict, canary_of
from conf.rollout.history import BEGUN, GOOD, KEPT, LARGEST, UNDONE, History, Holder, Release, UnreadableHistory
from tests.conf.golden import GOLDEN
from tests.running import ROOT

SERVICE, ROUTE = Ref("Service", "like", "cats", "u1"), Ref("HTTPRoute", "like", "cats", "u2")


KINDS = [kind for kind in APPLIED if kind != "Service"]  # each release of a test gets an object of another kind


def items(text: str, namespace: str = "like", name: str = "cats", kind: str = "Service") -> list[Item]:
    return [{"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": {"text": text}}]


def released(number: int, *inventory: Ref, origin: int = 0) -> Release:
    image = f"registry/cats:v{number}"
    return Release(number, f"v{number}", image, "2026-01-01T00:00:00Z", "ann", origin=origin, inventory=inventory)


def after(*states: str) -> History:
    """Return a history of releases with these ends. Each has one object of its own, and a Service that all share."""
    found = History(Holder("like/models", "cats", "2026-01-01T00:00:00Z"))
    for number, state in enumerate(states, 1):
        own = (Ref("Service", "like", "cats", "u"), Ref(KINDS[number % len(KINDS)], "like", "cats"))
        before = found.good
        found = found.begin(released(number, *own), items(f"v{number}"))
        if state == GOOD:
            found = found.end(GOOD, own)
        if state == UNDONE:
            found = found.end(UNDONE, before.inventory if before else ())
    return found


def deployed(found: History, number: int, text: str, origin: int = 0) -> History:
    return found.begin(released(number, origin=origin), items(text)).end(GOOD, ())


def earlier(found: History) -> int:
    older = found.rollback_release()
    return older.number if older else 0


def test_a_history_of_an_earlier_platform_is_read_and_its_track_no_longer_sleeps() -> None:
    found = history.read(json.loads((ROOT / "tests/conf/rollout/earlier_history.json").read_text()))
    first, second = found.releases
    assert (first.version, first.state, first.note, first.override) == ("v1", GOOD, "first", "fire")
    assert (second.state, second.inventory) == (BEGUN, (Ref("Service", "like", "cats"),))
    assert found.holder == Holder("like/models", "cats", "2026-01-01T00:00:00Z")
    assert found.objects == {1: items("v1"), 2: items("v2")}
    assert canary_of(second) == Canary(
        shares=(5, 25, 50),
        pods=4,
        phase="judging",
        step=1,
        since=17.5,
        baseline=False,
        why_no_baseline="no room",
        edges=((0.5, 0.025), (0.95, 0.1)),
        begin={"cats-canary-a": {"counted": 3.0, "failed": 0.0, "slower than 25 ms": 1.0}},
        verdicts=(StepVerdict(5, "good", ("errors: good",), 16.0), StepVerdict(25, "unknown", (), 18.0)),
        driven_at=18.0,
    )


def test_a_history_is_read_as_it_was_written() -> None:
    found = after(GOOD, UNDONE, BEGUN)
    item = history.write(found, "cats", "like")
    assert item["metadata"]["name"] == "monopod-cats"
    item["metadata"]["resourceVersion"] = "7"
    again = history.read(json.loads(json.dumps(item)))
    assert (again.releases, again.objects, again.holder) == (found.releases, found.objects, found.holder)
    assert again.resource_version == "7"


def test_no_config_map_is_an_empty_history() -> None:
    assert history.read(None) == History()


def broken(**data: Any) -> Item:
    item = history.write(after(GOOD), "cats", "like")
    item["data"] |= data
    return item


def holding(objects: list[Item]) -> Item:
    """The ConfigMap of a history whose good release holds these objects."""
    return history.write(History().begin(released(1), objects).end(GOOD, ()), "cats", "like")


NEWER = json.dumps([{**json.loads(broken()["data"]["releases"])[0], "inventory": [["Surprise", "like", "cats", ""]]}])


@pytest.mark.parametrize(
    "item",
    [
        broken() | {"data": {}},
        broken() | {"binaryData": {"1": "no gzip"}},
        broken() | {"binaryData": {}},
        broken(releases="[1]"),
        broken(releases="{"),
        broken(holder='{"who": "ann"}'),
        broken(releases=NEWER),
        holding(items("", namespace="theirs")),
        holding(items("", name="dogs")),
        holding(items("", kind="Pod")),
    ],
    ids=[
        "empty",
        "no gzip",
        "the good objects are lost",
        "no release",
        "no JSON",
        "no holder",
        "a kind of tomorrow",
        "another namespace's objects",
        "another service's objects",
        "objects that no release makes",
    ],  # fmt: skip
)
def test_a_config_map_of_something_else_is_reported_with_its_remedy(item: Item) -> None:
    with pytest.raises(UnreadableHistory, match="like/monopod-cats holds no history that can be read.*delete it"):
        history.read(item)


def test_objects_of_the_offline_pods_belong_to_a_release_and_those_of_another_service_do_not() -> None:
    own = Ref("Deployment", "like", "cats-offline", "u")
    found = History().begin(released(1, own), items("v1", name="cats-offline", kind="Deployment")).end(GOOD, (own,))
    assert history.read(history.write(found, "cats", "like")).releases[0].inventory == (own,)
    other = History().begin(released(1), items("v1", name="cats-x", kind="Deployment")).end(GOOD, ())
    with pytest.raises(UnreadableHistory, match="Deployment like/cats-x is not one of its objects"):
        history.read(history.write(other, "cats", "like"))


@pytest.mark.parametrize("name", ["cats-canary", "cats-baseline"])
def test_objects_of_a_canarys_arms_may_be_in_the_cluster_beside_a_release(name: str) -> None:
    arm = Ref("Deployment", "like", name, "u")
    begun = History().begin(released(1, SERVICE, arm), items("v1"))
    assert arm in [dataclasses.replace(each, uid="u") for each in history.read(history.write(begun, "cats", "like")).inventory]


def test_the_reason_of_an_override_is_kept_and_a_history_without_reasons_is_read() -> None:
    why = dataclasses.replace(released(1), override='"cats" are down: 猫')
    found = History().begin(why, items("v1")).end(GOOD, ())
    item = json.loads(json.dumps(history.write(found, "cats", "like")))
    assert [each.override for each in history.read(item).releases] == ['"cats" are down: 猫']

    older = json.loads(item["data"]["releases"])
    del older[0]["override"]
    item["data"]["releases"] = json.dumps(older)
    assert history.read(item).releases == after(GOOD).end(GOOD, ()).releases


def test_a_field_that_a_newer_platform_wrote_is_ignored() -> None:
    item = history.write(after(GOOD), "cats", "like")
    item["data"]["releases"] = item["data"]["releases"].replace('"number"', '"weather": "fine", "number"')
    assert history.read(item).releases == after(GOOD).releases


@pytest.mark.parametrize(
    ("states", "good", "own"),
    [
        ((), None, set()),
        ((BEGUN,), None, {1}),
        ((GOOD,), 1, {1}),
        ((GOOD, GOOD), 2, {2}),
        ((GOOD, UNDONE), 1, {1}),
        ((GOOD, BEGUN), 1, {1, 2}),
        ((GOOD, BEGUN, BEGUN), 1, {1, 2, 3}),
        ((GOOD, BEGUN, BEGUN, GOOD), 4, {4}),
        ((UNDONE,), None, set()),
    ],
)
def test_the_last_release_knows_all_that_may_be_in_the_cluster(states: tuple[str, ...], good: int, own: set[int]) -> None:
    found = after(*states)
    assert (found.good.number if found.good else None) == good
    assert {each.kind for each in found.inventory} - {"Service"} == {KINDS[number] for number in own}


def test_an_object_of_two_releases_is_in_the_inventory_once_and_any_that_is_ours_counts() -> None:
    found = after(GOOD, BEGUN, BEGUN)
    assert [each.uid for each in found.inventory if each.kind == "Service"] == [""]


def test_objects_that_broken_off_releases_left_are_known_however_many_there_are() -> None:
    found = after(GOOD, *[BEGUN] * (3 * KEPT))
    assert {each.kind for each in found.inventory} == set(APPLIED)


def test_the_last_good_release_is_never_forgotten_however_many_fail_after_it() -> None:
    found = after(GOOD, *[UNDONE] * (KEPT + 5))
    assert len(found.releases) == KEPT + 1
    assert found.good is not None
    assert found.good.number == 1
    assert found.objects == {1: items("v1")}


def test_good_releases_are_kept_to_return_to_and_the_oldest_are_forgotten() -> None:
    found = after(*[GOOD] * (KEPT + 3), *[UNDONE] * KEPT)
    assert set(found.objects) == set(range(4, KEPT + 4))
    assert earlier(found) == KEPT + 2


def test_a_large_release_leaves_room_in_the_config_map_for_fewer_older_ones() -> None:
    noise = random.Random(7)
    found = History()
    for number in range(1, 6):
        found = deployed(found, number, noise.randbytes(LARGEST // 3).hex())
    size = sum(len(text) * 3 // 4 for text in history.write(found, "cats", "like")["binaryData"].values())
    assert size < LARGEST
    assert max(found.objects) == 5
    assert 2 <= len(found.objects) < 5
    assert len(found.releases) == 5


def test_a_name_of_forty_letters_names_a_config_map_and_a_lease() -> None:
    item = history.write(after(GOOD), "s" * 40, "like")
    assert len(item["metadata"]["name"]) <= 63
    assert len(item["metadata"]["labels"]["monopod/history"]) <= 63


def test_a_rollback_goes_to_the_good_release_before_the_one_that_serves() -> None:
    assert earlier(after(GOOD, GOOD)) == 1
    assert earlier(after(GOOD)) == 0
    assert earlier(History()) == 0
    assert earlier(after(GOOD, UNDONE, GOOD, UNDONE)) == 1


def test_a_release_that_was_broken_off_is_rolled_back_to_the_last_good_one() -> None:
    assert earlier(after(GOOD, GOOD, BEGUN)) == 2
    assert earlier(after(BEGUN)) == 0


def test_each_rollback_goes_further_back_and_never_to_a_version_that_a_rollback_left() -> None:
    found = after(GOOD, GOOD, GOOD)
    found = deployed(found, 4, "v2", origin=2)
    assert earlier(found) == 1
    found = deployed(found, 5, "v1", origin=1)
    assert earlier(found) == 0
    found = deployed(found, 6, "v6")
    assert earlier(found) == 5
    found = deployed(found, 7, "v1", origin=1)
    assert earlier(found) == 0


def test_the_same_release_deployed_twice_is_skipped() -> None:
    found = after(GOOD)
    for number in (2, 3):
        found = deployed(found, number, "the same")
    assert earlier(found) == 1


def pods_of(regions: str, cpu: str = "1") -> list[Item]:
    """A Deployment whose pods are told these regions."""
    env = [{"name": "MONOPOD_REGIONS", "value": regions}, {"name": "MONOPOD_REGION", "value": "hk"}]
    pod = {"containers": [{"name": "cats", "env": env, "resources": {"requests": {"cpu": cpu}}}]}
    (item,) = items("", kind="Deployment")
    return [{**item, "spec": {"template": {"spec": pod}}}]


def test_a_release_that_differs_in_the_list_of_regions_alone_is_skipped() -> None:
    found = History()
    for number, objects in enumerate((pods_of("hk", "2"), pods_of("hk"), pods_of("hk,eu"), pods_of("hk,eu,na")), 1):
        found = found.begin(released(number), objects).end(GOOD, ())
    assert earlier(found) == 1
    assert found.objects[4] == pods_of("hk,eu,na")
    assert f'name: "{history.REGIONS}"' in (GOLDEN / "gpu/hk-prod-istio.yaml").read_text()


def test_a_project_is_the_same_by_its_name_and_branch_whatever_its_time() -> None:
    ours = Holder("like/models", "cats", "2026-01-01T00:00:00Z")
    assert ours.is_same(Holder("like/models", "cats", "2026-05-05T00:00:00Z"))
    assert not ours.is_same(Holder("like/models", "dogs", ours.since))
    assert str(ours) == "branch cats of like/models"


def test_a_first_release_that_was_undone_whole_leaves_the_name_to_others() -> None:
    assert after(UNDONE).holder is None
    begun = after(BEGUN)
    assert begun.holder is not None
    assert begun.end(UNDONE, begun.inventory).holder == begun.holder  # an object of it is still there
    assert [after(*states).holder for states in ((GOOD, UNDONE), (BEGUN, GOOD))] == [begun.holder] * 2


def test_a_rollback_to_a_version_goes_to_its_last_good_release() -> None:
    found = deployed(deployed(deployed(History(), 1, "one"), 2, "two"), 3, "three")
    assert [each.number for version in ("v1", "v3") if (each := found.rollback_release(version))] == [1, 3]
    assert found.rollback_release("v4") is None
    assert after(GOOD, UNDONE).rollback_release("v2") is None


def test_a_rollback_that_was_broken_off_goes_on_to_where_it_went() -> None:
    found = after(GOOD, GOOD, GOOD).begin(released(4, origin=2), items("v2"))
    assert earlier(found) == 2


def test_objects_are_addressed_as_the_api_server_has_them() -> None:
    assert path("Pod", "like", "a") == "/api/v1/namespaces/like/pods/a"
    assert Ref("HTTPRoute", "like", "a").path == "/apis/gateway.networking.k8s.io/v1/namespaces/like/httproutes/a"
    assert ref(items("")[0]) == Ref("Service", "like", "cats")


def test_objects_that_a_release_no_longer_holds_are_told_by_name_whatever_the_uid() -> None:
    assert dropped([SERVICE, ROUTE], [Ref("Service", "like", "cats", "another")]) == (ROUTE,)
