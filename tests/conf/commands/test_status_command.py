"""`status` calls no release good while pods are missing and no deploy is at work, and says why figures are not known."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from conf.clusters.regions import load
from conf.commands.status_command import Pods, _offline, pod_shortage, release_state
from conf.remote.cluster import Cluster
from conf.rollout.history import BEGUN, GOOD, UNDONE, History, Release
from conf.rollout.targets import RegionTrack, Target
from tests.conf.observe.folders import write_regions
from tests.conf.observe.prometheus_server import prometheus


def ended(*states: str, note: str = "") -> History:
    found = History()
    for number, each in enumerate(states, 1):
        begun = found.begin(Release(number, f"v{number}", "registry/cats", "2026-01-01T00:00:00Z", "ann", note=note), [])
        found = begun.end(each, ()) if each != BEGUN else begun
    return found


@pytest.mark.parametrize(
    ("wanted", "ready", "serves", "words"),
    [
        (0, 0, True, "nothing serves: its Deployment is not there, or wants no pod"),
        (0, 0, False, ""),
        (1, 0, True, "nothing serves: no pod of 1 is ready"),
        (1, 0, False, "nothing serves: no pod of 1 is ready"),
        (3, 1, True, "only 1 of 3 is ready"),
        (3, 3, True, ""),
        (3, 4, True, ""),
    ],
)
def test_missing_pods_are_told_in_words(wanted: int, ready: int, serves: bool, words: str) -> None:
    assert pod_shortage(wanted, ready, serves).partition(";")[0] == words


@pytest.mark.parametrize(
    ("found", "ready", "short", "words"),
    [
        (ended(GOOD), 1, False, "good"),
        (ended(GOOD), 0, True, "nothing serves"),
        (ended(GOOD), 1, True, "not all are ready"),
        (ended(GOOD, GOOD, note="rolled back from 3 to 2"), 0, True, "nothing serves, rolled back from 3 to 2"),
        (ended(GOOD, UNDONE), 0, True, "v2 was undone"),
        (ended(GOOD, BEGUN), 0, True, "the change to v2 was broken off"),
        (ended(UNDONE), 0, False, "v1 failed and was taken away"),
    ],
)
def test_a_release_is_good_only_while_its_pods_are_there(found: History, ready: int, short: bool, words: str) -> None:
    assert release_state(found, "", ready, short) == words


def test_a_release_whose_requests_fail_is_not_good_and_missing_pods_are_graver() -> None:
    assert release_state(ended(GOOD), "", 1, False, "requests fail") == "requests fail"
    assert release_state(ended(GOOD), "", 0, True, "requests fail") == "nothing serves"


def test_the_deployer_who_changes_a_release_is_named() -> None:
    assert release_state(ended(GOOD, BEGUN), "ann", 1, False) == "being changed to v2 by ann"


def test_offline_pods_that_prometheus_does_not_know_are_told_with_the_cure(tmp_path: Path) -> None:
    with prometheus(tmp_path) as url:
        region = load(write_regions(tmp_path, {"hk": url})).regions["hk"]
        target = Target(cast(Cluster, None), "like", "small")
        part = _offline(cast(RegionTrack, SimpleNamespace(region=region)), target, Pods(1, 1, 0, {}, "", (), is_losing=False))
    assert "has no series of like/small-offline" in part["note"]
    assert (part["lag"], part["dead_letters"], part["troubles"]) == (None, None, [])
