"""The sliding window, by a clock of the test's own."""

import pytest

from relay.rate_limit import RateLimit


def test_in_any_minute_there_are_at_most_20_attempts() -> None:
    now = 0.0
    limit = RateLimit(20, 60, lambda: now)
    allowed = []
    for second in range(300):
        now = float(second)
        if not limit.wait():
            allowed.append(now)
    assert len(allowed) == 100
    assert all(later - earlier >= 60 for earlier, later in zip(allowed, allowed[20:], strict=False))


def test_the_wait_is_the_time_until_the_next_attempt() -> None:
    now = 100.0
    limit = RateLimit(2, 60, lambda: now)
    assert [limit.wait(), limit.wait(), limit.wait()] == [0, 0, 60]
    now = 130.0
    assert limit.wait() == pytest.approx(30)
    now = 160.0
    assert [limit.wait(), limit.wait()] == [0, 0]
    assert limit.wait() > 0
