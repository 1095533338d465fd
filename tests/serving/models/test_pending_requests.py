"""Requests whose rows are not known yet count as one row each, from admission until their rows are queued."""

from collections.abc import Callable
from typing import Any

import pytest

from serving.base.errors import WrongInputs
from serving.base.lifetime import Lifetime
from serving.models.registry import PendingRequests
from tests.serving.models.registries import PATIENCE, FakeRequest, Gated, MakeRegistry, X, Y, double, lifetime, x


def test_each_request_counts_one_row_of_its_model_until_it_is_forgotten() -> None:
    pending, lives = PendingRequests(), [lifetime() for _ in range(3)]
    assert pending.rows("a") == 0
    for life, name in zip(lives, "aab", strict=True):
        pending.add(name, life)
    assert [pending.rows(name) for name in "abc"] == [2, 1, 0]
    pending.forget(lives[0])
    assert [pending.rows(name) for name in "ab"] == [1, 1]
    assert pending.names() == ["a", "b"]


def test_to_forget_twice_or_what_was_never_pending_does_no_harm() -> None:
    pending, life = PendingRequests(), lifetime()
    pending.forget(life)
    pending.add("a", life)
    pending.add("a", lifetime())
    pending.forget(life)
    pending.forget(life)
    assert pending.rows("a") == 1


def test_a_request_counts_once_though_it_is_counted_again() -> None:
    pending, life = PendingRequests(), lifetime()
    for name in "aab":
        pending.add(name, life)
    assert [pending.rows(name) for name in "ab"] == [0, 1]
    pending.forget(life)
    assert pending.rows("b") == 0


def test_the_oldest_is_the_one_whose_last_byte_came_first() -> None:
    pending = PendingRequests()
    assert pending.oldest("a") is None
    for received in (7.0, 3.0, 5.0):
        life = Lifetime(1.0, 60)
        life.received = received
        pending.add("a", life)
    assert pending.oldest("a") == 3.0


class Watched(dict[Lifetime, None]):
    """A table that notes what waits in all at the moment before a request is taken out."""

    def __init__(self, waiting_rows: Callable[[], int]):
        super().__init__()
        self.counts: list[int] = []
        self._waiting_rows = waiting_rows

    def pop(self, life: Lifetime, default: Any = None) -> None:
        self.counts.append(self._waiting_rows())
        super().pop(life, default)


def test_a_request_is_never_counted_nowhere_on_its_way_into_the_queue(make_registry: MakeRegistry) -> None:
    models, gated = make_registry(), Gated()
    handle = models.add("f", gated, (X,), (Y,))
    while gated.entered.acquire(blocking=False):  # the warm-up's batches
        pass
    gated.open.clear()
    running = handle.submit(x(), FakeRequest())
    assert gated.entered.acquire(timeout=PATIENCE)
    table = models._pending._tables["f"] = Watched(lambda: models.waiting_rows("f"))
    lives = [lifetime() for _ in range(4)]
    for life in lives:
        models.expect("f", life)
    for life in lives:
        handle.submit_with(x(2), life, lambda _: None)
    assert table.counts == [4 + 2, 5 + 2, 6 + 2, 7 + 2]  # counted twice for a moment, and then once
    assert models.waiting_rows("f") == 8
    gated.open.set()
    running.result(PATIENCE)


def test_a_request_that_the_queue_refuses_stays_pending_until_it_is_forgotten(make_registry: MakeRegistry) -> None:
    models, life = make_registry(), lifetime()
    handle = models.add("f", double, (X,), (Y,))
    models.expect("f", life)
    with pytest.raises(WrongInputs):
        handle.submit_with({}, life, lambda _: None)
    assert models.waiting_rows("f") == 1
    models.forget(life)
    assert models.waiting_rows("f") == 0
