"""A request is worth work until its deadline, and while its client waits."""

import time

import pytest

from serving.base.errors import ClientGone, DeadlinePassed
from serving.base.lifetime import Lifetime


def test_the_deadline_counts_from_the_first_byte() -> None:
    begin = time.monotonic() - 3
    life = Lifetime(begin, 10)
    assert life.deadline == begin + 10
    assert 6.5 < life.left() <= 7
    assert not life.over()
    life.check()


def test_nothing_is_left_after_the_deadline() -> None:
    life = Lifetime(time.monotonic() - 3, 2.5)
    assert life.left() == 0.0
    assert life.over()
    with pytest.raises(DeadlinePassed, match=r"no answer within 2\.5 s .*timeout_second"):
        life.check()


def test_a_shorter_deadline_holds_and_a_longer_one_does_not() -> None:
    life = Lifetime(100.0, 10)
    life.shorten(4)
    assert life.deadline == 104.0
    life.shorten(60)
    assert life.deadline == 104.0


def test_an_abandoned_request_is_over_before_its_deadline() -> None:
    life = Lifetime(time.monotonic(), 60)
    life.abandon()
    assert life.over()
    assert life.left() > 50
    with pytest.raises(ClientGone):
        life.check()


def test_whoever_asked_is_woken_when_the_client_goes() -> None:
    life, woken = Lifetime(time.monotonic(), 60), []
    life.on_abandon(lambda: woken.append(life.abandoned))
    assert woken == []
    life.abandon()
    assert woken == [True]


def test_whoever_asks_too_late_is_woken_at_once() -> None:
    life, woken = Lifetime(time.monotonic(), 60), []
    life.abandon()
    life.on_abandon(lambda: woken.append(True))
    assert woken == [True]


def test_everybody_who_asked_is_woken() -> None:
    life, woken = Lifetime(time.monotonic(), 60), []
    life.on_abandon(lambda: woken.append("one"))
    life.on_abandon(lambda: woken.append("other"))
    life.abandon()
    assert woken == ["one", "other"]


@pytest.mark.parametrize("days_up", [0, 1, 300])
def test_the_words_tell_the_time_that_was_allowed_however_long_the_machine_is_up(days_up: int) -> None:
    life = Lifetime(days_up * 86_400 + 0.3, 5)
    life.shorten(1e-6)
    assert str(life.too_late()).startswith("no answer within 1e-06 s of")


def test_another_clock_tells_the_time() -> None:
    now = [100.0]
    life = Lifetime(100.0, 10, lambda: now[0])
    assert (life.left(), life.over(), life.error()) == (10, False, None)
    now[0] = 109.0
    assert life.left() == 1
    now[0] = 110.0
    assert (life.left(), life.over(), type(life.error())) == (0, True, DeadlinePassed)
