"""How long a canary's steps will take, as it is told before it begins."""

from pathlib import Path

import pytest

from conf.rollout.canary.judge import Outlook
from conf.rollout.canary.state import Canary
from tests.conf.rollout.canary.scripted_counters import OLD, answered, scripted

BATCHES_OF_EIGHT = """
monopod_batch_rows_bucket{model="m",le="4"} 0
monopod_batch_rows_bucket{model="m",le="8"} 1000
monopod_batch_rows_bucket{model="m",le="+Inf"} 1000
monopod_batch_rows_sum{model="m"} 8000
"""


def outlook(folder: Path, *lines: str) -> Outlook:
    judge, counters = scripted(folder)
    counters.pages = {OLD: {"a": "\n".join(lines)}}
    return judge.outlook(Canary((5, 50), 2))


def test_where_requests_are_batched_a_step_takes_longer_since_a_batch_fails_as_a_whole(tmp_path: Path) -> None:
    alone, together = outlook(tmp_path, answered(8_000)), outlook(tmp_path, answered(8_000), BATCHES_OF_EIGHT)
    assert together.found == pytest.approx([8 * each for each in alone.found], rel=0.01)
    assert together.good == pytest.approx([8 * each for each in alone.good], rel=0.01)


def test_failed_batches_count_as_large_as_they_were(tmp_path: Path) -> None:
    failed = answered(80, 500, "model_failed")
    alone = outlook(tmp_path, answered(8_000), failed, 'monopod_batch_failures_total{model="m"} 80')
    together = outlook(tmp_path, answered(8_000), failed, 'monopod_batch_failures_total{model="m"} 10')
    assert together.found == pytest.approx([8 * each for each in alone.found], rel=0.01)


def test_a_larger_share_takes_less_time_and_no_requests_take_for_ever(tmp_path: Path) -> None:
    found = outlook(tmp_path, answered(8_000))
    assert found.rate == 100.0
    assert found.found[0] == pytest.approx(10 * found.found[1])
    assert found.good[0] == pytest.approx(10 * found.good[1])
    assert outlook(tmp_path).good == (float("inf"), float("inf"))
