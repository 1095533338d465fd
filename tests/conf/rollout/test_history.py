"""The history of releases: written, read back, asked for its objects, and for the release that a rollback returns to."""

import dataclasses
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from conf.base.object_references import APPLIED, Item, Ref, dropped, path, ref
from conf.rollout import history
from conf.rollout.canary.state import Canary, StepVerdict, canary_of
from conf.rollout.history import (
    BEGUN,
    GOOD,
    KEPT,
    MAX_BYTES,
    UNDONE,
    History,
    Holder,
    Release,
    UnreadableHistory,
    no_release_message,
    reason_to_skip,
    release_to_leave,
    returnable_versions,
    rollback_note,
)
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
    with pytest.raises(UnreadableHistory, match="like/monopod-cats holds no history.*delete it"):
        history.read(item)


def test_objects_of_the_offline_pods_belong_to_a_release_and_those_of_another_service_do_not() -> None:
    own = Ref("Deployment", "like", "cats-offline", "u")
    found = History().begin(released(1, own), items("v1", name="cats-offline", kind="Deployment")).end(GOOD, (own,))
    assert history.read(history.write(found, "cats", "like")).releases[0].inventory == (own,)
    other = History().begin(released(1), items("v1", name="cats-x", kind="Deployment")).end(GOOD, ())
    with pytest.raises(UnreadableHistory, match="like/cats-x is not one of its objects"):
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
        found = deployed(found, number, noise.randbytes(MAX_BYTES // 3).hex())
    size = sum(len(text) * 3 // 4 for text in history.write(found, "cats", "like")["binaryData"].values())
    assert size < MAX_BYTES
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
    assert earlier(after(BEGUN)) == 0
    assert earlier(after(GOOD, UNDONE, GOOD, UNDONE)) == 1


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


def test_objects_are_addressed_as_the_api_server_has_them() -> None:
    assert path("Pod", "like", "a") == "/api/v1/namespaces/like/pods/a"
    assert Ref("HTTPRoute", "like", "a").path == "/apis/gateway.networking.k8s.io/v1/namespaces/like/httproutes/a"
    assert ref(items("")[0]) == Ref("Service", "like", "cats")


def test_objects_that_a_release_no_longer_holds_are_told_by_name_whatever_the_uid() -> None:
    assert dropped([SERVICE, ROUTE], [Ref("Service", "like", "cats", "another")]) == (ROUTE,)


def versions(*releases: tuple[str, str, int], digests: Sequence[str] = ()) -> History:
    """A history of versions, how each ended, and the release that it returned to. One of version 3 came at 3 o'clock.

    digests: a letter for each release's image; left out, all were deployed by their tags. A later one came a minute later.
    """
    found = History()
    for number, (version, state, origin) in enumerate(releases, 1):
        letter = digests[number - 1] if digests else ""
        image = f"registry/cats@{digest(letter)}" if letter else "registry/cats"
        at = f"2026-01-01T{'09' if origin else '0' + version}:0{number}:00Z"
        begun = found.begin(Release(number, version, image, at, "ann", origin=origin), items(version + letter))
        found = begun if state == BEGUN else begun.end(state, ())
    return found


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


ONE, TWO, THREE = ("1", GOOD, 0), ("2", GOOD, 0), ("3", GOOD, 0)


def gone_back(*found: History, to: str = "") -> list[str]:
    """Return the version to which each region returns, "" where it is skipped."""
    leaving = release_to_leave(found)
    older = [each.rollback_release(to) for each in found]
    return [
        "" if reason_to_skip(each, leaving, to) else one.version if one else "none"
        for each, one in zip(found, older, strict=True)
    ]


def test_a_region_that_never_got_the_version_to_leave_stays() -> None:
    assert gone_back(versions(ONE, TWO, THREE), versions(ONE, TWO)) == ["2", ""]
    assert "2 serves there, and this leaves 3" in reason_to_skip(versions(ONE, TWO), release_to_leave([versions(THREE)]), "")


def test_all_regions_are_rolled_back_together_and_further_each_time() -> None:
    assert gone_back(versions(ONE, TWO, THREE), versions(ONE, TWO, THREE)) == ["2", "2"]
    back = versions(ONE, TWO, THREE, ("2", GOOD, 2))
    assert gone_back(back, back) == ["1", "1"]


def test_a_region_that_was_rolled_back_alone_waits_for_the_others() -> None:
    assert gone_back(versions(ONE, TWO, THREE, ("2", GOOD, 2)), versions(ONE, TWO, THREE)) == ["", "2"]


def test_a_release_that_was_undone_by_itself_needs_no_rollback() -> None:
    undone = versions(ONE, TWO, ("3", UNDONE, 0))
    assert gone_back(undone) == [""]
    assert gone_back(undone, versions(ONE, TWO)) == ["", ""]
    assert gone_back(versions(ONE, TWO, THREE), undone) == ["2", ""]
    assert gone_back(versions(ONE, TWO, ("2", UNDONE, 0))) == [""]  # the same image with other settings
    assert "undone there by itself, and 2 serves" in reason_to_skip(undone, release_to_leave([undone]), "")


def test_a_rollback_that_was_undone_or_broken_off_is_taken_up_again() -> None:
    assert gone_back(versions(ONE, TWO, THREE, ("2", UNDONE, 2))) == ["2"]
    assert gone_back(versions(ONE, TWO, THREE, ("2", BEGUN, 2))) == ["2"]
    assert gone_back(versions(ONE, TWO, THREE, ("2", BEGUN, 2)), versions(ONE, TWO, THREE)) == ["2", "2"]


def test_a_release_that_was_broken_off_is_left_wherever_it_is() -> None:
    assert gone_back(versions(ONE, TWO, ("3", BEGUN, 0)), versions(ONE, TWO)) == ["2", ""]
    assert gone_back(versions(ONE, TWO, ("3", BEGUN, 0)), versions(ONE, TWO, THREE)) == ["2", "2"]
    assert gone_back(versions(ONE, ("2", BEGUN, 0)), versions(ONE, TWO, THREE)) == ["1", "2"]


def test_a_region_without_an_earlier_release_or_without_any_has_none_to_return_to() -> None:
    assert gone_back(versions(THREE), versions(ONE, TWO, THREE)) == ["none", "2"]
    assert gone_back(History(), versions(ONE, TWO)) == ["none", "1"]


def test_a_rollback_reaches_a_named_version_from_any_other_version() -> None:
    assert gone_back(versions(ONE, TWO, THREE), versions(ONE, TWO), versions(TWO), to="1") == ["1", "1", "none"]
    assert gone_back(versions(ONE, TWO, ("3", UNDONE, 0)), to="1") == ["1"]
    assert gone_back(versions(ONE, ("2", UNDONE, 0)), to="2") == ["none"]
    back = versions(ONE, TWO, THREE, ("1", GOOD, 1))
    assert (gone_back(back, to="3"), gone_back(back, to="1")) == (["3"], [""])


def test_a_rollback_whose_release_is_forgotten_is_older_than_any_deploy() -> None:
    forgotten = History(None, (Release(4, "1", "", "2026-01-01T09:00:00Z", "ann", GOOD, origin=1),), {4: items("1")})
    left = release_to_leave([forgotten, versions(ONE, TWO)])
    assert left is not None
    assert left.version == "2"
    assert release_to_leave([History()]) is None


def test_a_tag_that_was_pushed_again_is_another_version_and_each_is_told_by_its_digest() -> None:
    twice, once = versions(ONE, ONE, digests="ab"), versions(ONE, digests="a")
    assert [each.digest if (each := found.rollback_release()) else "" for found in (twice, once)] == [digest("a"), ""]
    leaving = release_to_leave([once, twice])
    assert reason_to_skip(twice, leaving, "") == ""
    told = reason_to_skip(once, leaving, "")
    assert told.startswith("1 (sha256:aaaaaaaaaaaa) serves there, and")
    assert "leaves 1 (sha256:bbbbbbbbbbbb)" in told


def test_a_version_is_named_by_its_tag_or_by_its_digest_or_the_beginning_of_that() -> None:
    found = versions(ONE, ONE, TWO, digests="abc")
    for named, letter in (("1", "b"), (digest("a"), "a"), (digest("b")[:19], "b"), ("2", "c")):
        older = found.rollback_release(named)
        assert older is not None
        assert older.digest == digest(letter)
    assert [found.rollback_release(named) for named in ("3", digest("d"), "sha256:", "sha256:aa")] == [None] * 4
    assert "serves there already" in reason_to_skip(found, None, digest("c"))


def test_a_tag_that_serves_already_is_told_with_how_to_name_another_image_of_it() -> None:
    twice = versions(ONE, TWO, ONE, digests="abc")
    told = reason_to_skip(twice, None, "1")
    assert told.startswith("1 (sha256:cccccccccccc) serves there")
    assert "--to sha256:aaaaaaaaaaaa names another" in told
    older = twice.rollback_release("sha256:aaaaaaaaaaaa")
    assert older is not None
    assert older.digest == digest("a")
    assert reason_to_skip(versions(ONE, ONE, digests="aa"), None, "1") == "1 serves there already"


def test_a_rollback_is_told_by_versions_and_by_digests_or_times_where_versions_are_the_same() -> None:
    def told(found: History, to: str = "") -> str:
        older = found.rollback_release(to)
        assert older is not None
        return rollback_note(found, older)

    assert told(versions(ONE, TWO)) == "rolled back from 2 to 1"
    assert told(versions(ONE, TWO, ("3", BEGUN, 0))) == "rolled back from 3 to 2"
    assert told(versions(ONE, TWO, ("3", UNDONE, 0))) == "rolled back from 2 to 1"
    assert told(versions(ONE, ONE, digests="ab")).endswith("(sha256:bbbbbbbbbbbb) to 1 (sha256:aaaaaaaaaaaa)")
    assert told(versions(ONE, ONE), to="1") == "rolled back to 1 of 2026-01-01T01:02:00Z"
    assert told(versions(ONE, ("", BEGUN, 0))) == "rolled back to 1"  # a stop that was broken off


def test_a_version_that_is_not_there_is_told_with_those_that_are() -> None:
    assert no_release_message(versions(ONE), "") == "no earlier good release to return to"
    assert no_release_message(History(), "9").endswith("version 9 to return to; there is none")
    assert no_release_message(versions(ONE), "9").endswith("; there is 1")
    assert no_release_message(versions(ONE, TWO, ("3", UNDONE, 0), ONE), "9").endswith("; there are 1, 2")
    twice = versions(ONE, TWO, ONE, digests="abc")
    assert returnable_versions(twice) == ["1 (sha256:cccccccccccc)", "2", "1 (sha256:aaaaaaaaaaaa)"]
