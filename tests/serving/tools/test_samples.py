"""Samples: the rows that are kept."""

import numpy as np

from serving.models.engine import Engine, Hardware
from serving.tools.optimize.samples import Recorder, evenly
from tests.running import DIGITS


def test_what_is_kept_of_many_rows_is_bounded_and_even() -> None:
    recorder = Recorder(Engine(DIGITS, Hardware()))
    row = np.zeros((1, 1, 8, 8), np.float32)
    recorder({"images": row})
    assert recorder.rows(9) == []  # not started yet
    recorder.start(4)
    for number in range(100):
        recorder({"images": row + number})
    kept = [int(each["images"][0, 0, 0, 0]) for each in recorder.rows(4)]
    assert kept == [0, 16, 48, 80]
    assert evenly(range(10), 4) == [0, 2, 5, 7]
