"""Removal: deleted objects are waited for until they are gone, and their finalizers are named where they stay."""

from typing import Any, cast

import pytest

from conf.base.object_references import MANAGER, Ref
from conf.remote.cluster import Cluster
from conf.rollout import removal
from conf.rollout.lease import Lease
from conf.rollout.removal import END_PAUSE, free_autoscaler, held_by, remove, remove_dropped, stuck_clause, stuck_message
from conf.rollout.targets import Blocked, Target, removal_timeout
from monopod import _parser

SERVICE, SCALED = Ref("Service", "like", "cats"), Ref("ScaledObject", "like", "cats")
SCALER = Ref("HorizontalPodAutoscaler", "like", "cats")


class Objects:
    """A cluster's objects by kind, and a lease. An object with finalizers stays until it was read `looks` times."""

    def __init__(self, finalizers: dict[str, list[str]], looks: int = 10**6, manager: str = MANAGER):
        managed = [{"manager": manager}]
        self.there: dict[str, Any] = {
            kind: {"metadata": {"uid": kind, "managedFields": managed, "finalizers": found}}
            for kind, found in finalizers.items()
        }
        self.looks = looks

    def get(self, each: Ref) -> Any:
        found = self.there.get(each.kind)
        if found and "deletionTimestamp" in found["metadata"]:
            self.looks -= 1
            if self.looks < 0:
                del self.there[each.kind]
        return found

    def delete(self, each: Ref, *, alone: bool = False) -> Any:
        found = self.there[each.kind]
        if not alone and each.kind == "ScaledObject":  # Kubernetes deletes what it owned
            self.there.pop("HorizontalPodAutoscaler", None)
        if not found["metadata"]["finalizers"]:
            del self.there[each.kind]
            return {"status": "Success"}
        found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return found

    @staticmethod
    def retry(ask: Any, *arguments: Any, **named: Any) -> Any:
        return ask(*arguments, **named)


class Clock:
    """A clock that only `sleep` moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(removal, "time", found)
    return found


def removed(objects: Objects, *refs: Ref, seconds: float = 60) -> tuple[tuple[Any, ...], list[str]]:
    """Return the objects that stay, and the messages."""
    said: list[str] = []
    place = Target(cast(Cluster, objects), "like", "cats", removal_timeout=seconds)
    return remove(place, refs, cast(Lease, objects), said.append), said


def test_an_object_that_nothing_holds_is_gone_at_once() -> None:
    assert removed(Objects({"Service": []}), SERVICE) == ((), ["removed Service like/cats"])
    assert removed(Objects({}), SERVICE) == ((), [])


def test_an_object_is_said_to_be_removed_only_once_it_is_gone() -> None:
    staying, said = removed(Objects({"ScaledObject": ["finalizer.keda.sh"], "Service": []}, looks=2), SCALED, SERVICE)
    assert staying == ()
    assert said == [f"removed {SERVICE}", f"waiting until {SCALED} is gone", f"removed {SCALED}"]


def test_an_object_that_is_held_for_too_long_is_named_with_its_finalizer(clock: Clock) -> None:
    objects = Objects({"ScaledObject": ["finalizer.keda.sh"], "Service": []})
    for seconds in (120, 60):  # a second command finds it deleted already, and waits again
        begin = clock.now
        staying, said = removed(objects, SCALED, SERVICE, seconds=seconds)
        assert 0 <= clock.now - begin - seconds <= 1
        assert [each.ref.kind for each in staying] == ["ScaledObject"]
        assert "removed ScaledObject like/cats" not in said
        for words in (f"still there after {seconds:.0f} s", "finalizer.keda.sh (taken off by KEDA"):
            assert words in stuck_message(staying)
    assert stuck_clause(staying).startswith(", but ScaledObject like/cats ")
    assert stuck_clause(()) == ""


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("stop", 60), ("stop --timeout 120", 120), ("stop --timeout 2", 2), ("deploy", 60), ("deploy --timeout 900", 60)],
)
def test_stop_waits_for_as_long_as_it_is_told(line: str, seconds: float) -> None:
    assert removal_timeout(_parser().parse_args(line.split())) == seconds


def dropped(objects: Objects, inventory: list[Ref], *applied: Ref) -> tuple[list[str], list[str]]:
    """Return the words about the objects that stay, and the messages."""
    said: list[str] = []
    place = Target(cast(Cluster, objects), "like", "cats", removal_timeout=60)
    stuck = remove_dropped(place, inventory, applied, cast(Lease, objects), said.append)
    return [each.words for each in stuck], said


def test_an_autoscaler_that_keda_takes_over_is_waited_for_and_not_deleted(clock: Clock) -> None:
    objects = Objects({"HorizontalPodAutoscaler": [], "ScaledObject": [], "Service": []})
    words, said = dropped(objects, [SCALER, SERVICE], SCALED)
    assert [each.endswith("has not taken it over within 60 s") for each in words] == [True]
    assert (said, 61 <= clock.now <= 62) == (["removed Service like/cats"], True)
    objects.there["HorizontalPodAutoscaler"]["metadata"]["ownerReferences"] = [{"kind": "ScaledObject", "name": "cats"}]
    words, said = dropped(objects, [SCALER], SCALED)
    assert (words, said) == ([], [f"{SCALER} is KEDA's from now on"])
    assert set(objects.there) == {"HorizontalPodAutoscaler", "ScaledObject"}


def test_an_autoscaler_that_is_applied_outlives_the_scaled_object_of_its_name() -> None:
    objects = Objects({"HorizontalPodAutoscaler": [], "ScaledObject": []})
    assert dropped(objects, [SCALED, SCALER], SCALER) == ([], ["removed ScaledObject like/cats"])
    assert set(objects.there) == {"HorizontalPodAutoscaler"}


def test_an_autoscaler_is_freed_from_the_scaled_object_that_owns_it() -> None:
    objects = Objects({"HorizontalPodAutoscaler": [], "ScaledObject": ["finalizer.keda.sh"]}, looks=2)
    place = Target(cast(Cluster, objects), "like", "cats", removal_timeout=60)
    free_autoscaler(place, SCALER, cast(Lease, objects), lambda _: None)
    assert set(objects.there) == {"HorizontalPodAutoscaler", "ScaledObject"}  # not owned
    objects.there["HorizontalPodAutoscaler"]["metadata"]["ownerReferences"] = [{"kind": "ScaledObject", "name": "cats"}]
    free_autoscaler(place, SCALER, cast(Lease, objects), lambda _: None)
    assert set(objects.there) == {"HorizontalPodAutoscaler"}


def test_a_scaled_object_that_keda_does_not_let_go_stops_the_change() -> None:
    objects = Objects({"HorizontalPodAutoscaler": [], "ScaledObject": ["finalizer.keda.sh"]})
    objects.there["HorizontalPodAutoscaler"]["metadata"]["ownerReferences"] = [{"kind": "ScaledObject", "name": "cats"}]
    place = Target(cast(Cluster, objects), "like", "cats", removal_timeout=60)
    with pytest.raises(Blocked, match="taken off by KEDA's operator"):
        free_autoscaler(place, SCALER, cast(Lease, objects), lambda _: None)


def test_several_objects_that_are_held_take_no_longer_than_one(clock: Clock) -> None:
    staying, _ = removed(Objects({"ScaledObject": ["a.io/x"], "Service": ["b.io/x"]}), SCALED, SERVICE)
    assert [each.ref.kind for each in staying] == ["ScaledObject", "Service"]
    assert clock.now <= 61


def test_an_object_of_somebody_else_is_neither_deleted_nor_waited_for() -> None:
    staying, (said,) = removed(Objects({"Service": []}, manager="ann"), SERVICE)
    assert staying == ()
    assert said.endswith("somebody else now: Service like/cats")
    assert removed(Objects({"Service": []}), Ref("Service", "like", "cats", "another"))[1][0].startswith("not deleted")


@pytest.mark.parametrize(
    ("finalizers", "words"),
    [
        ([], "held by no finalizer"),
        (["example.com/kept"], "held by its finalizer example.com/kept"),
        (["example.com/kept"], "off by the controller of example.com"),
        (["foregroundDeletion", "finalizer.keda.sh"], "may have finalizers of their own) and"),
    ],
)
def test_the_controller_that_takes_a_finalizer_off_is_named(finalizers: list[str], words: str) -> None:
    assert words in held_by({"metadata": {"finalizers": finalizers}})


def test_proxies_learn_the_new_route_before_the_service_of_the_old_one_goes(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, deleted_at = Objects({"Service": []}), list[float]()
    delete = objects.delete

    def noted(each: Ref, *, alone: bool = False) -> Any:
        deleted_at.append(clock.now)
        return delete(each, alone=alone)

    monkeypatch.setattr(objects, "delete", noted)
    assert dropped(objects, [SERVICE]) == ([], ["removed Service like/cats"])
    assert deleted_at == [END_PAUSE]
