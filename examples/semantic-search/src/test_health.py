"""The verdict on a pod's vitals."""

from typing import Any

import pytest
from health import judged

WELL: dict[str, Any] = {
    "memory_bytes": 200,
    "memory_limit_bytes": 1000,
    "cpu_cores": 0.5,
    "cpu_cores_asked": 2.0,
    "queue_rows": 1,
    "queue_limit": 128,
    "oldest_seconds": 0.1,
}


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({}, "ok", None),
        ({"memory_bytes": 849, "cpu_cores": 1.79, "queue_rows": 63, "oldest_seconds": 0.99}, "ok", None),
        ({"memory_bytes": 850}, "short of memory", "memory is at 85% of its limit"),
        ({"cpu_cores": 1.8}, "busy", "cores are at 90% of those asked for"),
        ({"queue_rows": 64}, "busy", "the queue is at 50% of its limit"),
        ({"oldest_seconds": 1.5}, "busy", "the oldest question has waited 1.5 s"),
        ({"memory_bytes": 900, "cpu_cores": 3.0}, "short of memory", "cores are at 150%"),
    ],
)
def test_a_verdict_follows_from_the_thresholds_and_says_why(change: dict[str, Any], verdict: str, reason: str | None) -> None:
    told = judged(WELL | change, 268)
    assert told["verdict"] == verdict
    assert any(words.startswith(reason) for words in told["reasons"]) if reason else told["reasons"] == []
    assert told["memory_limit_bytes"] == 1000
    assert told["thresholds"]["memory"] == 0.85
