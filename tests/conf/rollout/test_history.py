"""The history of releases: written to a ConfigMap, read back, and what it says of the cluster."""

import json

import pytest

from conf.refs import Item, Ref, gone, path, ref
from conf.rollout import history
from conf.rollout.history import BEGUN, GOOD, KEPT, UNDONE, History, Holder, Release, Unreadable

ITEMS: list[Item] = [{"kind": "Service", "metadata": {"name": "cats", "namespace": "like"}, "spec": {"ports": [{"port": 80}]}}]
SERVICE, ROUTE = Ref("Service", "like", "cats", "u1"), Ref("HTTPRoute", "like", "cats", "u2")


def released(number: int, state: str, *inventory: Ref) -> Release:
    return Release(number, f"v{number}", f"registry/cats:v{number}", "2026-01-01T00:00:00Z", "ann", state, "", inventory)


def after(*states: str) -> History:
    """A history of releases that ended so, each with one object of its own."""
    found = History(Holder("like/models", "cats", "2026-01-01T00:00:00Z"))
    for number, state in enumerate(states, 1):
        own = Ref("Service", "like", f"only-{number}")
        found = found.begin(released(number, BEGUN, own), ITEMS).changed(number, state=state)
    return found


def test_a_history_is_read_as_it_was_written() -> None:
    found = after(GOOD, UNDONE, BEGUN)
    item = history.write(found, "cats", "like")
    assert item["metadata"]["name"] == "monopod-cats"
    item["metadata"]["resourceVersion"] = "7"
    again = history.read(json.loads(json.dumps(item)))
    assert again.releases == found.releases
    assert again.objects == found.objects
    assert again.holder == found.holder
    assert again.resource_version == "7"


def test_no_config_map_is_an_empty_history() -> None:
    assert history.read(None) == History()


@pytest.mark.parametrize(
    ("data", "binary"),
    [({}, {}), ({"holder": "null", "releases": "[1]"}, {}), ({"holder": "null", "releases": "[]"}, {"1": "no gzip"})],
)
def test_a_config_map_of_something_else_is_told_with_its_cure(data: dict[str, str], binary: dict[str, str]) -> None:
    item = {"metadata": {"name": "monopod-cats", "namespace": "like"}, "data": data, "binaryData": binary}
    with pytest.raises(Unreadable, match="like/monopod-cats holds no history that can be read.*delete it"):
        history.read(item)


@pytest.mark.parametrize(
    ("states", "good", "held"),
    [
        ((), None, set()),
        ((BEGUN,), None, {"only-1"}),
        ((GOOD,), 1, {"only-1"}),
        ((GOOD, GOOD), 2, {"only-2"}),
        ((GOOD, UNDONE), 1, {"only-1", "only-2"}),
        ((GOOD, BEGUN, BEGUN), 1, {"only-1", "only-2", "only-3"}),
        ((GOOD, UNDONE, GOOD, BEGUN), 3, {"only-3", "only-4"}),
    ],
)
def test_what_may_be_in_the_cluster_is_all_since_the_last_good_release(
    states: tuple[str, ...], good: int | None, held: set[str]
) -> None:
    found = after(*states)
    last = found.good()
    assert (last.number if last else None) == good
    assert {each.name for each in found.inventory()} == held


def test_the_last_good_release_is_never_forgotten_however_many_fail_after_it() -> None:
    found = after(GOOD, *[UNDONE] * (KEPT + 5))
    assert len(found.releases) == KEPT + 1
    good = found.good()
    assert good is not None
    assert good.number == 1
    assert found.objects[1] == ITEMS
    assert set(found.objects) == {each.number for each in found.releases}


def test_a_project_is_the_same_by_its_name_and_branch_whenever_it_came() -> None:
    ours = Holder("like/models", "cats", "2026-01-01T00:00:00Z")
    assert ours.same(Holder("like/models", "cats", "2026-05-05T00:00:00Z"))
    assert not ours.same(Holder("like/models", "dogs", ours.since))
    assert str(ours) == "branch cats of like/models"


def test_objects_are_addressed_as_the_api_server_has_them() -> None:
    assert path("Pod", "like", "a") == "/api/v1/namespaces/like/pods/a"
    assert Ref("HTTPRoute", "like", "a").path == "/apis/gateway.networking.k8s.io/v1/namespaces/like/httproutes/a"
    assert ref(ITEMS[0]) == Ref("Service", "like", "cats")


def test_what_a_release_no_longer_holds_is_told_by_name_whatever_the_uid() -> None:
    assert gone([SERVICE, ROUTE], [Ref("Service", "like", "cats", "another")]) == [ROUTE]
