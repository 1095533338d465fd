"""Requests whose rows are not known yet count as one row each, from admission until their rows are queued."""

import threading
import time

from serving.base.lifetime import Lifetime
from serving.models.expected import Expected, forget
from tests.serving.models.registries import PATIENCE, FakeRequest, Gated, MakeRegistry, X, Y, in_threads, lifetime, x


def test_each_request_counts_one_row_of_its_model_until_it_is_forgotten() -> None:
    expected, lives = Expected(), [lifetime() for _ in range(3)]
    assert expected.rows("a") == 0
    for life, name in zip(lives, "aab", strict=True):
        expected.add(name, life)
    assert [expected.rows(name) for name in "abc"] == [2, 1, 0]
    forget(lives[0])
    assert [expected.rows(name) for name in "ab"] == [1, 1]
    assert expected.names() == ["a", "b"]


def test_to_forget_twice_or_what_was_never_expected_does_no_harm() -> None:
    expected, life = Expected(), lifetime()
    forget(life)
    expected.add("a", life)
    expected.add("a", lifetime())
    forget(life)
    forget(life)
    assert expected.rows("a") == 1


def test_a_request_counts_once_though_it_is_expected_again() -> None:
    expected, life = Expected(), lifetime()
    for name in "aab":
        expected.add(name, life)
    assert [expected.rows(name) for name in "ab"] == [0, 1]
    forget(life)
    assert expected.rows("b") == 0


def test_the_oldest_is_the_one_whose_last_byte_came_first() -> None:
    expected = Expected()
    assert expected.oldest("a") is None
    for received in (7.0, 3.0, 5.0):
        life = Lifetime(1.0, 60)
        life.received = received
        expected.add("a", life)
    assert expected.oldest("a") == 3.0


def test_a_request_is_never_counted_nowhere_on_its_way_into_the_queue(make_registry: MakeRegistry) -> None:
    """Four threads queue 400 expected requests behind a batch that is held, while another thread reads the count."""
    models, gated = make_registry(queue_limit=1000), Gated()
    handle = models.add("f", gated, (X,), (Y,))
    while gated.entered.acquire(blocking=False):  # the warm-up's batches
        pass
    gated.open.clear()
    running = handle.submit(x(), FakeRequest())
    assert gated.entered.acquire(timeout=PATIENCE)
    lives = [lifetime() for _ in range(400)]
    for life in lives:
        models.expect("f", life)
    assert models.waiting_rows("f") == 400
    counts: list[int] = []
    ended, end = threading.Event(), time.monotonic() + PATIENCE

    def work(number: int) -> None:
        if number == 4:
            while not ended.is_set() and time.monotonic() < end:
                counts.append(models.waiting_rows("f"))
            return
        for life in lives[number::4]:
            handle.submit_with(x(), life, lambda _: None)
        if models._expected.rows("f") == 0:
            ended.set()

    in_threads(5, work)
    assert min(counts) >= 400
    assert models.waiting_rows("f") == 400
    gated.open.set()
    running.result(PATIENCE)
    while models.waiting_rows() and time.monotonic() < end:
        time.sleep(0.001)
    assert models.waiting_rows() == 0
