"""Numbers that any thread notes, and that are counted later."""

import math
import threading

import numpy as np
import pytest

from serving.telemetry.series import ROWS_WAITING, Histogram, Numbers, Waiting


def test_a_value_belongs_to_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    histogram = Histogram((1, 2))
    histogram.add(np.array([0.5, 1.0, 1.5, 2.0, 2.5, -1.0]))
    found = histogram.read()
    assert found.bounds == (1, 2, math.inf)
    assert found.counts == (3, 5, 6)
    assert found.sum == 6.5


def test_values_that_are_not_there_are_not_counted() -> None:
    histogram = Histogram((1, 2))
    histogram.add(np.array([math.nan, 1.5, math.nan]))
    assert histogram.read().counts == (0, 1, 1)
    assert histogram.read().sum == 1.5


def test_rows_wait_until_they_are_many_or_read() -> None:
    taken: list[Numbers] = []
    lock = threading.Lock()
    waiting = Waiting(2, taken.append, lock)
    for number in range(ROWS_WAITING - 1):
        waiting.note((number, 0.5))
    assert taken == []
    waiting.note((ROWS_WAITING - 1, 0.5))
    assert [rows.shape for rows in taken] == [(ROWS_WAITING, 2)]
    assert taken[0][:, 0].tolist() == list(range(ROWS_WAITING))
    waiting.note((7, 8))
    with lock:
        waiting.settle()
        waiting.settle()
    assert [rows.tolist() for rows in taken[1:]] == [[[7, 8]]]


def test_a_thread_that_notes_does_not_wait_for_one_that_reads() -> None:
    taken: list[Numbers] = []
    lock = threading.Lock()
    waiting = Waiting(1, taken.append, lock)
    with lock:
        for _ in range(ROWS_WAITING + 1):
            waiting.note((1,))
        assert taken == []
    waiting.note((1,))
    assert [len(rows) for rows in taken] == [ROWS_WAITING + 2]


def test_a_row_that_is_no_numbers_stops_nothing_later() -> None:
    taken: list[Numbers] = []
    waiting = Waiting(1, taken.append, threading.Lock())
    waiting.note(["no number"])  # type: ignore[list-item]
    with pytest.raises(Exception, match="float"):
        waiting.settle()
    waiting.note((3,))
    waiting.settle()
    assert [rows.tolist() for rows in taken] == [[[3]]]
