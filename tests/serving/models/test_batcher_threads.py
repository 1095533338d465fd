"""Batch threads end when the batcher is closed, tell when they are idle, and serve a crowd."""

import gc
import threading
import time
import weakref
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
import pytest

import serving.models.batcher
from serving.base.errors import NotReady
from serving.models.tensors import Arrays
from tests.serving.models.batchers import PATIENCE, Held, MakeBatcher, answer, busy, call, double, life, picky
from tests.threads import in_threads
from tests.waiting import until


def test_closing_waits_for_no_delay(make: MakeBatcher) -> None:
    batcher = make(double, max_queue_delay=PATIENCE * 2)
    waiting = call(batcher, 1)
    assert batcher.close(PATIENCE)
    assert answer(waiting) == [2]


def test_closing_finishes_the_queue_and_refuses_new_calls(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, instances=2, max_batch_size=2)
    calls = [call(batcher, n, n + 1) for n in range(6)]
    model.wait()
    closed: list[bool] = []
    closing = threading.Thread(target=lambda: closed.append(batcher.close(PATIENCE)))
    closing.start()
    until(lambda: batcher._closed)
    with pytest.raises(NotReady, match="model m is being unloaded"):
        call(batcher, 50, 51)
    model.free()
    closing.join(PATIENCE)
    assert closed == [True]
    assert [answer(one) for one in calls] == [[2 * n, 2 * n + 2] for n in range(6)]
    assert batcher.stuck_seconds() == 0.0
    assert not [t for t in threading.enumerate() if t.name.startswith("batch-m-")]


def test_closing_twice_does_no_harm(make: MakeBatcher) -> None:
    batcher = make(double)
    assert batcher.close(PATIENCE)
    assert batcher.close(0)


def test_each_instance_is_told_once_that_it_is_idle_and_only_after_work(
    make: MakeBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.models.batcher, "IDLE_SECONDS", 0.02)
    told: list[int] = []
    idle = threading.Semaphore(0)

    def on_idle(instance: int) -> None:
        told.append(instance)
        idle.release()

    model = Held()
    batcher = make(model, instances=2, idle=on_idle)
    time.sleep(0.06)
    assert told == []
    futures = [call(batcher, 1)]
    model.wait()
    futures.append(call(batcher, 2))
    model.wait()
    model.free()
    assert [answer(f) for f in futures] == [[2], [4]]
    assert idle.acquire(timeout=PATIENCE)
    assert idle.acquire(timeout=PATIENCE)
    assert sorted(told) == [0, 1]
    time.sleep(0.06)
    assert len(told) == 2


def test_the_callback_of_any_call_may_submit_again(make: MakeBatcher) -> None:
    model, batcher, running = busy(make, queue_limit=4)
    again: list[Future[Arrays]] = []

    def submit(_: Any) -> None:
        again.append(call(batcher, 100))

    gone = [life(), life()]
    call(batcher, 1, 1, lives=gone[0]).add_done_callback(submit)
    call(batcher, 2).add_done_callback(submit)
    call(batcher, 3, lives=gone[1]).add_done_callback(submit)
    gone[0].abandon()
    late = call(batcher, 4)
    assert len(again) == 1  # from the expired call, which was removed for the new one
    gone[1].abandon()
    model.free()
    assert (answer(running), answer(late)) == ([0], [8])
    until(lambda: len(again) == 3)  # from a call that the batch thread removed, and from an answered one
    assert [answer(one) for one in again] == [[200]] * 3


def test_the_callback_of_a_call_may_close(make: MakeBatcher) -> None:
    batcher, closed = make(double), threading.Event()
    results: list[bool] = []

    def close(_: Any) -> None:
        results.append(batcher.close(0.01))
        closed.set()

    call(batcher, 1).add_done_callback(close)
    assert closed.wait(PATIENCE)
    assert batcher.close(PATIENCE)


def _is_freed(kept: "weakref.ref[Any]") -> bool:
    gc.collect()
    return kept() is None


def test_an_idle_thread_keeps_no_batch_alive(make: MakeBatcher) -> None:
    batcher = make(double)
    for fails in (False, True):
        arrays = {"x": np.full((2, 1), -1 if fails else 1, np.float32)}
        kept = weakref.ref(arrays["x"])
        assert answer(batcher.submit(arrays, 2, life()))
        del arrays
        until(partial(_is_freed, kept))


def test_a_crowd_of_all_sizes_gets_its_own_rows(make: MakeBatcher) -> None:
    """Sixteen threads, three instances, calls of 1 to 12 rows and two widths, some refused, some abandoned."""

    def run(instance: int, arrays: Arrays) -> Arrays:
        assert len(arrays["x"]) <= 5
        return picky(instance, arrays)

    batcher = make(run, instances=3, max_batch_size=5, queue_limit=10_000)
    outcomes: list[str] = []

    def client(number: int) -> None:
        draw = np.random.default_rng(number)
        for turn in range(40):
            count, width = int(draw.integers(1, 13)), int(draw.integers(1, 3))
            x = draw.integers(0, 1000, (count, width)).astype(np.float32)
            kind = ("good", "good", "good", "bad", "gone")[turn % 5]
            if kind == "bad":
                x[-1, -1] = -1
            its = life()
            future = batcher.submit({"x": x}, count, its)
            if kind == "gone":
                its.abandon()
            error = future.exception(PATIENCE)
            if error is None:
                assert np.array_equal(future.result()["y"], x * 2)
                outcomes.append("answered" if kind == "good" else kind)
            else:
                outcomes.append({"BadInput": "bad", "ClientGone": "gone"}.get(type(error).__name__, str(error)))

    in_threads(16, client)
    assert {what: outcomes.count(what) for what in set(outcomes)} == {"answered": 384, "bad": 128, "gone": 128}
    assert batcher.waiting_rows() == 0
    assert batcher.stuck_seconds() < PATIENCE
