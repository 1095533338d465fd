"""Calls that nobody waits for are never computed, and their place is free for others."""

import time

import pytest

from serving.base.errors import BadInput, ClientGone, DeadlinePassed
from serving.base.lifetime import Lifetime
from serving.models.tensors import Arrays
from tests.serving.models.batchers import PATIENCE, Held, MakeBatcher, answer, busy, call, life, picky
from tests.waiting import until


@pytest.mark.parametrize("end", ["expired", "abandoned", "cancelled"])
def test_calls_that_nobody_waits_for_make_room_and_are_never_computed(make: MakeBatcher, end: str) -> None:
    model, batcher, running = busy(make, queue_limit=4)
    over = life()
    expired = call(batcher, 1, 2, lives=over)
    alive = call(batcher, 3, 4)
    if end == "expired":
        over.shorten(0)
    elif end == "abandoned":
        over.abandon()
    else:
        assert expired.cancel()
    if end != "cancelled":
        assert batcher.waiting_rows() == 2  # so that a full queue takes the next call
    late = call(batcher, 5)
    if end != "cancelled":
        with pytest.raises(DeadlinePassed if end == "expired" else ClientGone):
            expired.result(PATIENCE)
    model.free()
    assert [answer(f) for f in (running, alive, late)] == [[0], [6, 8], [10]]
    assert model.batches == [[0], [3, 4, 5]]


def test_expired_calls_in_a_queue_with_room_are_never_computed_either(make: MakeBatcher) -> None:
    model, batcher, running = busy(make)
    short = life(0.01)
    expired = [call(batcher, n, lives=short) for n in (1, 2)]
    alive = call(batcher, 3)
    until(short.over)
    model.free()
    for future in expired:
        with pytest.raises(DeadlinePassed, match=r"0\.01 s"):
            future.result(PATIENCE)
    assert (answer(running), answer(alive)) == ([0], [6])
    assert model.batches == [[0], [3]]
    assert batcher.waiting_rows() == 0


def test_the_rest_of_a_call_is_not_computed_when_its_client_goes(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, max_batch_size=2)
    gone = life()
    future = call(batcher, 1, 2, 3, 4, 5, lives=gone)
    model.wait()
    assert batcher.waiting_rows() == 3
    gone.abandon()
    model.free()
    with pytest.raises(ClientGone):
        future.result(PATIENCE)
    assert answer(call(batcher, 9)) == [18]
    assert model.batches == [[1, 2], [9]]
    assert batcher.waiting_rows() == 0


def test_a_result_that_nobody_waits_for_is_dropped(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model)
    cancelled = call(batcher, 1)
    model.wait()
    assert cancelled.cancel()
    model.free()
    assert answer(call(batcher, 2)) == [4]


def test_who_leaves_while_calls_are_judged_is_not_computed_again(make: MakeBatcher) -> None:
    model, gone = Held(), life()

    def run(instance: int, arrays: Arrays) -> Arrays:
        model(instance, arrays)
        if len(arrays["x"]) > 1:
            gone.abandon()
        return picky(instance, arrays)

    _, batcher, first = busy(make, run, model)
    bad, left = call(batcher, -1), call(batcher, 2, lives=gone)
    model.free()
    assert answer(first) == [0]
    assert isinstance(bad.exception(PATIENCE), BadInput)
    assert isinstance(left.exception(PATIENCE), ClientGone)
    assert model.batches == [[0], [-1, 2], [-1]]


def test_when_every_instance_hangs_waiting_calls_expire_and_make_room(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, queue_limit=2)
    short = life(0.01)
    hung = call(batcher, 1, lives=short)
    model.wait()
    waiting = [call(batcher, n, lives=short) for n in (2, 3)]
    until(short.over)
    assert not hung.done()
    more = call(batcher, 4)
    assert all(isinstance(f.exception(PATIENCE), DeadlinePassed) for f in waiting)
    model.free()
    assert answer(more) == [8]


def test_the_oldest_age_counts_from_the_last_byte(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model)
    assert batcher.oldest_age() == 0.0
    running = call(batcher, 0)
    model.wait()
    assert batcher.oldest_age() == 0.0
    old = Lifetime(time.monotonic() - 8, 30)
    old.received = time.monotonic() - 5
    waiting = call(batcher, 1, lives=old)
    assert 5 <= batcher.oldest_age() < 7
    older = Lifetime(time.monotonic() - 8, 30)
    older.received = time.monotonic() - 7.5
    gone = call(batcher, 2, lives=older)
    assert batcher.oldest_age() >= 7
    older.abandon()
    assert 5 <= batcher.oldest_age() < 7
    model.free()
    assert (answer(running), answer(waiting)) == ([0], [2])
    assert isinstance(gone.exception(PATIENCE), ClientGone)
