"""A track that is due to sleep, and its objects while it does. No cluster is needed."""

from dataclasses import replace

import pytest

from conf.rollout.history import GOOD, Release
from conf.rollout.replicas import sleeping
from conf.rollout.sleeping.due import awake_words

DEPLOYED = Release(1, "1", "image:1", "2026-03-01T10:00:00Z", "ann", GOOD)
WOKEN = replace(DEPLOYED, woken="2026-03-20T10:00:00Z")


@pytest.mark.parametrize(
    ("release", "days", "now", "words"),
    [
        (DEPLOYED, 14, "2026-03-15T09:59:59Z", "it was deployed at 2026-03-01T10:00:00Z, and is due at 2026-03-15T10:00:00Z"),
        (DEPLOYED, 14, "2026-03-15T10:00:00Z", ""),
        (WOKEN, 14, "2026-03-21T10:00:00Z", "it was woken at 2026-03-20T10:00:00Z, and is due at 2026-04-03T10:00:00Z"),
        (WOKEN, 14, "2026-04-03T10:00:00Z", ""),
        (DEPLOYED, 0, "2026-03-01T10:00:01Z", ""),  # at once
        (replace(WOKEN, asleep="2026-03-20T11:00:00Z"), 14, "2026-03-21T10:00:00Z", ""),
    ],
)
def test_a_track_is_due_some_days_after_its_deploy_or_its_last_wake(release: Release, days: int, now: str, words: str) -> None:
    assert awake_words(release, days, now) == words


def test_a_sleeping_release_has_no_pods_and_no_alerts_and_all_its_other_objects() -> None:
    service = {"kind": "Service", "spec": {"ports": []}}
    items = [
        service,
        {"kind": "Deployment", "spec": {"replicas": 2, "template": {}}},
        {"kind": "PrometheusRule", "spec": {"groups": [{"name": "digits", "rules": [{"alert": "Slow"}]}]}},
    ]
    assert sleeping(items) == [
        service,
        {"kind": "Deployment", "spec": {"replicas": 0, "template": {}}},
        {"kind": "PrometheusRule", "spec": {"groups": [{"name": "digits", "rules": []}]}},
    ]
    assert items[1]["spec"] == {"replicas": 2, "template": {}}  # the release's own objects are not changed
