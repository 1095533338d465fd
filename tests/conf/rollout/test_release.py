"""The objects of a release after a restart: they name its time, so that a deploy of the same objects replaces no pods."""

from typing import Any

from conf.base.object_references import Item
from conf.rollout.history import GOOD, History, Release
from conf.rollout.release import RESTARTED_AT, with_restart

AT = "2026-01-02T00:00:00Z"


def deployment(name: str = "cats", image: str = "cats:1", **annotations: str) -> Item:
    metadata: dict[str, Any] = {"labels": {"app": name}, **({"annotations": annotations} if annotations else {})}
    template = {"metadata": metadata, "spec": {"containers": [{"image": image}]}}
    return {"kind": "Deployment", "metadata": {"name": name, "namespace": "like"}, "spec": {"template": template}}


def after(*items: Item) -> History:
    """Return a history whose last good release has these objects."""
    release = Release(1, "1", "cats:1", "2026-01-01T00:00:00Z", "ann", GOOD)
    return History(releases=(release,), objects={1: list(items)})


def test_a_later_release_keeps_the_time_of_the_last_restart_and_all_else_of_its_own() -> None:
    restarted = after(deployment(**{RESTARTED_AT: AT}))
    kept = [deployment(image="cats:2", team="a"), {"kind": "Service", "metadata": {"name": "cats", "namespace": "like"}}]
    assert with_restart(kept, restarted) == [deployment(image="cats:2", **{"team": "a", RESTARTED_AT: AT}), kept[1]]


def test_a_deployment_that_was_never_restarted_stays_as_it_is() -> None:
    kept = [deployment(), deployment("cats-offline")]
    assert with_restart(kept, History()) == kept
    assert with_restart(kept, after(deployment())) == kept
    found = with_restart(kept, after(deployment(**{RESTARTED_AT: AT}), deployment("cats-offline")))
    assert found == [deployment(**{RESTARTED_AT: AT}), kept[1]]
