"""A model by its name, as an event loop and the threads beside it use it: nothing waits on the loop, and uses are counted."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any

import numpy as np
import pytest

from serving.base.errors import BadInput, NotReady, QueueFull, TooLarge
from serving.models.calls import Call
from serving.models.model import Model
from serving.models.registry import Handle, ModelRegistry
from tests.serving.models.registries import PATIENCE, FakeRequest, Gated, MakeRegistry, X, Y, double, hold, lifetime, x


class LoopSide:
    """A loop's side of a registry: it makes one for the loop, and keeps the calls that ended."""

    def __init__(self, runner: asyncio.Runner, make_registry: MakeRegistry):
        self.runner, self._thread, self._make = runner, threading.get_ident(), make_registry
        self._ended: asyncio.Queue[Call] = asyncio.Queue()

    def models(self, **settings: Any) -> ModelRegistry:
        return self._make(self.runner.get_loop(), **settings)

    def done(self, call: Call) -> None:
        assert threading.get_ident() == self._thread
        self._ended.put_nowait(call)

    async def ended(self) -> Call:
        """Wait for the next call that `done` was given."""
        return await asyncio.wait_for(self._ended.get(), PATIENCE)


@pytest.fixture
def side(make_registry: MakeRegistry) -> Iterator[LoopSide]:
    with asyncio.Runner() as runner:
        yield LoopSide(runner, make_registry)


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test's coroutine on the loop of its side."""

    @wraps(test)
    def run(side: LoopSide, **given: Any) -> None:
        side.runner.run(test(side=side, **given))

    return run


def value(call: Call) -> float:
    assert call.outputs is not None, call.error
    return float(call.outputs["y"][0, 0])


@pytest.mark.parametrize("way", ["load", "on_demand"])
@on_loop
async def test_a_model_in_memory_answers_on_the_loop(side: LoopSide, way: str) -> None:
    models = side.models()
    handle = getattr(models, way)("b", "b.onnx")
    handle.spec(lifetime())
    assert handle.submit_on_loop(x(), lifetime(), side.done)
    assert value(await side.ended()) == 2


@on_loop
async def test_a_model_that_is_not_in_memory_is_left_to_a_thread(side: LoopSide) -> None:
    models = side.models()
    handles = [models.on_demand("b", "b.onnx"), models.load("a", "a.onnx")]
    models.unload("a")
    for handle in handles:
        assert not handle.submit_on_loop(x(), lifetime(), side.done)
        assert not handle.loaded
        assert handle._entry.uses == 0


@on_loop
async def test_a_model_that_is_being_evicted_is_left_to_a_thread(side: LoopSide) -> None:
    models = side.models()
    handle = models.on_demand("b", "b.onnx")
    handle.spec(lifetime())
    models._cache._evicting = handle._entry
    assert not handle.submit_on_loop(x(), lifetime(), side.done)
    assert handle._entry.uses == 0


@pytest.mark.parametrize("way", ["load", "on_demand"])
@on_loop
async def test_a_model_that_is_unloaded_meanwhile_is_left_to_a_thread(
    side: LoopSide, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = side.models()
    handle = getattr(models, way)("b", "b.onnx")
    handle.spec(lifetime())
    enqueue = Model.enqueue

    def unloaded_first(model: Model, *args: Any, **more: Any) -> None:
        models.unload("b")
        enqueue(model, *args, **more)

    monkeypatch.setattr(Model, "enqueue", unloaded_first)
    assert not handle.submit_on_loop(x(), lifetime(), side.done)
    assert handle._entry.uses == 0


@on_loop
async def test_a_model_that_is_closed_for_good_is_not_ready(side: LoopSide) -> None:
    models = side.models()
    handle = models.load("a", "a.onnx")
    assert models.loaded()[0].close(PATIENCE)
    with pytest.raises(NotReady):
        handle.submit_on_loop(x(), lifetime(), side.done)


@on_loop
async def test_uses_of_a_model_on_demand_are_counted_until_it_answered(side: LoopSide) -> None:
    models = side.models()
    handle = models.on_demand("b", "b.onnx")
    handle.spec(lifetime())
    release, future = hold(models, "b")
    assert handle._entry.uses == 1
    assert handle.submit_on_loop(x(), lifetime(), side.done)
    assert handle._entry.uses == 2
    release.set()
    assert value(await side.ended()) == 2
    future.result(PATIENCE)
    assert handle._entry.uses == 0


@pytest.mark.parametrize("way", ["load", "on_demand"])
@on_loop
async def test_what_is_wrong_is_raised_at_once_and_counts_no_use(side: LoopSide, way: str) -> None:
    models = side.models(queue_limit=3)
    handle: Handle = getattr(models, way)("b", "b.onnx")
    handle.spec(lifetime())
    release, future = hold(models, "b")
    assert handle.submit_on_loop(x(2), lifetime(), side.done)
    for wrong, error in (({"x": np.ones((1, 3), np.float32)}, BadInput), (x(4), TooLarge), (x(2), QueueFull)):
        with pytest.raises(error):
            handle.submit_on_loop(wrong, lifetime(), side.done)
        with pytest.raises(error):
            handle.submit_with(wrong, lifetime(), side.done)
    assert handle._entry.uses == (2 if way == "on_demand" else 1)
    release.set()
    await side.ended()
    future.result(PATIENCE)
    assert handle._entry.uses == 0


def test_a_thread_loads_the_model_and_its_answer_comes_on_the_batch_thread(make_registry: MakeRegistry) -> None:
    models = make_registry()
    handle = models.on_demand("b", "b.onnx")
    calls: list[Call] = []
    uses: list[int] = []
    threads: list[str] = []
    answered = threading.Event()

    def done(call: Call) -> None:
        calls.append(call)
        uses.append(handle._entry.uses)
        threads.append(threading.current_thread().name)
        answered.set()

    handle.submit_with(x(), lifetime(), done)
    assert answered.wait(PATIENCE)
    assert ([value(call) for call in calls], uses, threads) == ([2], [0], ["batch-b-0"])


def test_the_times_of_a_call_are_those_of_the_registrys_clock(make_registry: MakeRegistry) -> None:
    now, gated = [100.0], Gated()
    models = make_registry(clock=lambda: now[0])

    def slow(arrays: Any) -> Any:
        now[0] += 5
        return gated(arrays)

    handle = models.add("f", slow, (X,), (Y,))
    now[0] = 200.0
    gated.hold()
    ended = threading.Semaphore(0)
    calls: list[Call] = []

    def done(call: Call) -> None:
        calls.append(call)
        ended.release()

    handle.submit_with(x(), lifetime(), done)
    assert gated.entered.acquire(timeout=PATIENCE)
    handle.submit_with(x(), lifetime(), done)
    now[0] = 220.0
    gated.open.set()
    assert ended.acquire(timeout=PATIENCE)
    assert ended.acquire(timeout=PATIENCE)
    times = [(call.queued, call.taken, call.joined, call.ended) for call in calls]
    assert times == [(200.0, 200.0, 200.0, 220.0), (205.0, 220.0, 220.0, 225.0)]


def test_what_waits_is_told_by_name_queued_or_expected(make_registry: MakeRegistry) -> None:
    now, gated = [50.0], Gated()
    models = make_registry(clock=lambda: now[0])
    handle = models.add("f", gated, (X,), (Y,))
    models.add("g", double, (X,), (Y,))
    gated.hold()
    running = handle.submit(x(), FakeRequest())
    assert gated.entered.acquire(timeout=PATIENCE)
    lives = [lifetime() for _ in range(3)]
    for life, received in zip(lives, (47.0, 44.0, 41.0), strict=True):
        life.received = received
    models.expect("f", lives[0])
    models.expect("s", lives[1])
    handle.submit_with(x(2), lives[2], lambda _: None)
    assert models.queue_names() == ["f", "g", "s"]
    assert [models.waiting_rows(name) for name in ("f", "g", "s", "z", None)] == [3, 0, 1, 0, 4]
    assert [models.oldest_age(name) for name in ("f", "g", "s", "z", None)] == [9.0, 0.0, 6.0, 0.0, 9.0]
    models.forget(lives[1])
    handle.submit_with(x(), lives[0], lambda _: None)
    assert [models.waiting_rows(name) for name in ("f", "s", None)] == [3, 0, 3]
    gated.open.set()
    running.result(PATIENCE)


def test_rows_that_nobody_waits_for_do_not_count(make_registry: MakeRegistry) -> None:
    models, gated = make_registry(queue_limit=4), Gated()
    handle = models.add("f", gated, (X,), (Y,))
    gated.hold()
    running = handle.submit(x(), FakeRequest())
    assert gated.entered.acquire(timeout=PATIENCE)
    gone = lifetime()
    handle.submit_with(x(2), gone, lambda _: None)
    gone.abandon()
    for count in (1, 2):
        models.expect("f", lifetime())
        assert (models.waiting_rows("f"), models.has_waiting("f", count), models.has_waiting("f", count + 1)) == (
            count,
            True,
            False,
        )
    assert models.oldest_age("f") < PATIENCE
    gated.open.set()
    running.result(PATIENCE)


def test_rows_of_the_loops_next_batch_fill_no_queue(make_registry: MakeRegistry) -> None:
    models = make_registry(queue_limit=4)
    batcher = models.add("f", double, (X,), (Y,))._entry.model.batcher  # type: ignore[union-attr]
    found: list[tuple[int, bool]] = []
    for rows in (2, 3, 5, 6):
        batcher.rows_on_loop = rows
        found.append((batcher.waiting_rows(), models.has_waiting("f", 4)))
    batcher.rows_on_loop = 0
    assert found == [(2, False), (3, False), (5, False), (6, True)]
