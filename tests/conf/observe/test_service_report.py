"""The advice on memory follows the levels of the service: the peak is to stay below the one that warns."""

from typing import Any

import pytest

from conf.observe.service_report import Hour, RegionReport, advice
from serving.settings import Settings

MIB = 2.0**20
MEMORY = 1024 * MIB


def told(peak: float, **settings: Any) -> list[str]:
    """Return the advice on a pod of 1 GiB whose memory had a peak. peak: MiB."""
    hours = tuple(Hour(3600.0 * number, requests=100.0, pods=1.0, memory=peak * MIB) for number in range(30))
    report = RegionReport("hk", "prod", hours=hours, memory=MEMORY)
    return advice(report, Settings(service_name="small", username="like", memory="1Gi", **settings), lambda _: None)


@pytest.mark.parametrize(
    ("peak", "levels", "words"),
    [
        (200, (70.0, 85.0), 'less memory: memory = "320Mi"'),
        (200, (40.0, 60.0), 'less memory: memory = "512Mi"'),
        (200, (90.0, 95.0), 'less memory: memory = "256Mi"'),
        (700, (70.0, 85.0), "nothing"),
        (900, (70.0, 85.0), 'more memory: memory = "1344Mi"'),
        (700, (40.0, 60.0), 'more memory: memory = "1792Mi"'),
        (900, (90.0, 95.0), "nothing"),
        (450, (40.0, 60.0), "nothing"),  # Less than 1 GiB would be over the level that warns.
    ],
)
def test_memory_is_advised_by_the_levels_of_the_service(peak: float, levels: tuple[float, float], words: str) -> None:
    (found,) = told(peak, memory_levels=levels)
    assert found.startswith(words)
