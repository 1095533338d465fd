"""The seconds of many requests' stages are added up at once, each as if it were alone."""

import numpy as np
import pytest

from serving.settings.exported_metrics import STAGES
from serving.telemetry.stage_seconds import END, NUMBERS, stage_seconds
from tests.serving.stage_begins import begins_of, seconds_of


def test_a_stage_that_a_request_has_twice_counts_with_both_its_times() -> None:
    begins = [NUMBERS["upload"], 8.0, NUMBERS["queue"], 10.0, NUMBERS["decode"], 10.5, NUMBERS["queue"], 12.0, END, 20.0]
    assert seconds_of(begins) == {"upload": 2.0, "queue": 8.5, "decode": 1.5}


def test_a_stage_of_no_time_is_one_that_the_request_had() -> None:
    assert seconds_of(begins_of(upload=0.0, infer=3.0)) == {"upload": 0.0, "infer": 3.0}


@pytest.mark.parametrize("count", [1, 2, 300])
def test_requests_one_after_the_other_do_not_touch_each_other(count: int) -> None:
    chance = np.random.default_rng(7)
    requests = [
        begins_of(**{stage: float(chance.integers(1024)) for stage in STAGES if stage == "upload" or chance.random() < 0.5})
        for _ in range(count)
    ]
    found = stage_seconds(np.array(sum(requests, ())).reshape(-1, 2))
    assert found.shape == (count, len(STAGES))
    alone = [stage_seconds(np.array(each).reshape(-1, 2))[0] for each in requests]
    np.testing.assert_array_equal(found, alone)
