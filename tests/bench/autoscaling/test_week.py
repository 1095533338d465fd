import numpy as np
import pytest

from bench.autoscaling import week


def test_the_committed_week_is_what_the_generator_makes() -> None:
    assert np.array_equal(week.read(), week.made())
    assert week.FILE.read_text() == week.written(week.made())


def test_a_night_is_quiet_and_a_working_day_louder_than_a_weekend() -> None:
    rates = week.read().reshape(week.DAYS, 24, 60)
    assert np.median(rates[:, 3]) < 0.25 * np.median(rates[:5, 15])
    assert np.median(rates[5:, 15]) < np.median(rates[:5, 15])


def test_rows_arrive_at_the_rate_of_their_minute_and_the_same_each_time() -> None:
    rates = np.repeat([50.0, 200.0], 60)
    rows = week.arrivals(rates)
    assert rows[:3000].mean() == pytest.approx(50, rel=0.02)
    assert rows[-3000:].mean() == pytest.approx(200, rel=0.02)
    assert np.array_equal(rows, week.arrivals(rates))
