"""Calls of an event loop become batches, and each batch goes back to the loop in one step."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any

import pytest

from serving.base.errors import ClientGone, ModelFailed, QueueFull, ShortDeadline
from serving.base.lifetime import Lifetime
from serving.models.batcher import Batcher
from serving.models.calls import Call
from serving.models.tensors import Arrays
from tests.serving.models.batchers import PATIENCE, Held, MakeBatcher, answer, call, double, life, rows
from tests.serving.models.recording import RecordingObserver


class Front:
    """A loop's side of a batcher: it queues calls, keeps those that ended, and counts the steps in which they came back."""

    def __init__(self, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch):
        self.runner, self.loop, self._thread = runner, runner.get_loop(), threading.get_ident()
        self.steps, self.turns = 0, 0  # calls of call_soon_threadsafe, and of call_soon, for the batcher
        self.ended: list[Call] = []
        self._more = asyncio.Event()
        to_loop, soon = self.loop.call_soon_threadsafe, self.loop.call_soon

        def counted_step(callback: Any, *args: Any, **more: Any) -> Any:
            self.steps += 1
            return to_loop(callback, *args, **more)

        def counted_turn(callback: Any, *args: Any, **more: Any) -> Any:
            self.turns += getattr(callback, "__name__", "") == "_end_turn"
            return soon(callback, *args, **more)

        monkeypatch.setattr(self.loop, "call_soon_threadsafe", counted_step)
        monkeypatch.setattr(self.loop, "call_soon", counted_turn)

    def queue(self, batcher: Batcher, *values: float, lives: Lifetime | None = None, done: Any = None) -> Call:
        return batcher.enqueue(rows(*values), len(values), lives or life(), done or self.done, on_loop=True)

    def done(self, ended: Call) -> None:
        assert threading.get_ident() == self._thread
        self.ended.append(ended)
        self._more.set()

    async def wait(self, count: int) -> None:
        """Wait until `count` calls have ended."""
        end = time.monotonic() + PATIENCE
        while len(self.ended) < count:
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), end - time.monotonic())
        assert len(self.ended) == count

    async def until(self, model: Held) -> None:
        """Wait until one more batch of a model runs, while the loop goes on."""
        end = time.monotonic() + PATIENCE
        while not model.entered.acquire(blocking=False):
            assert time.monotonic() < end
            await asyncio.sleep(0.001)


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    with asyncio.Runner() as runner:
        yield Front(runner, monkeypatch)


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test's coroutine on the loop of its front."""

    @wraps(test)
    def run(front: Front, **given: Any) -> None:
        front.runner.run(test(front=front, **given))

    return run


def outputs(ended: Call) -> list[float]:
    assert ended.outputs is not None, ended.error
    values: list[float] = ended.outputs["y"].ravel().tolist()
    return values


@on_loop
async def test_requests_of_one_turn_make_one_batch_and_come_back_in_one_step(make: MakeBatcher, front: Front) -> None:
    seen = RecordingObserver()
    batcher = make(double, seen, loop=front.loop, max_batch_size=8)
    for n in range(5):
        front.queue(batcher, n)
        time.sleep(0.01)  # an instance that was woken would take it by now
    assert front.turns == 1
    await front.wait(5)
    assert [outputs(ended) for ended in front.ended] == [[2 * n] for n in range(5)]
    assert front.steps == 1
    assert seen.batches == [5]


@on_loop
async def test_each_batch_comes_back_in_one_step(make: MakeBatcher, front: Front) -> None:
    seen = RecordingObserver()
    model = Held()
    batcher = make(model, seen, loop=front.loop, max_batch_size=4)
    front.queue(batcher, 0)
    await front.until(model)
    for n in range(1, 11):
        front.queue(batcher, n)
    model.free()
    await front.wait(11)
    assert sorted(outputs(ended)[0] for ended in front.ended) == [2 * n for n in range(11)]
    assert front.steps == 4
    assert seen.batches == [1, 4, 4, 2]


@on_loop
async def test_a_full_batch_does_not_wait_for_the_end_of_the_turn(make: MakeBatcher, front: Front) -> None:
    model = Held()
    batcher = make(model, loop=front.loop, max_batch_size=2)
    for n in range(2):
        front.queue(batcher, n)
    model.wait()
    assert model.batches == [[0, 1]]
    model.free()
    await front.wait(2)


@on_loop
async def test_a_busy_instance_takes_the_next_batch_without_the_loop(make: MakeBatcher, front: Front) -> None:
    model = Held()
    batcher = make(model, loop=front.loop)
    front.queue(batcher, 0)
    await front.until(model)
    front.queue(batcher, 1)
    assert front.turns == 1  # for the first call: nobody has to be woken for the second
    model.go.release()
    model.wait()  # within one turn of the loop
    model.free()
    await front.wait(2)
    assert model.batches == [[0], [1]]


@on_loop
async def test_rows_that_one_instance_leaves_wake_the_next(make: MakeBatcher, front: Front) -> None:
    model = Held()
    batcher = make(model, loop=front.loop, instances=3, max_batch_size=2)
    front.queue(batcher, 1, 2, 3, 4, 5)
    for _ in range(3):
        await front.until(model)
    assert batcher.waiting_rows() == 0
    model.free()
    await front.wait(1)
    assert outputs(front.ended[0]) == [2, 4, 6, 8, 10]
    assert front.steps == 1


@on_loop
async def test_the_delay_holds_for_the_loops_calls(make: MakeBatcher, front: Front) -> None:
    seen = RecordingObserver()
    batcher = make(double, seen, loop=front.loop, max_batch_size=4, max_queue_delay=0.3)
    began = time.monotonic()
    for n in range(3):
        front.queue(batcher, n)
        await asyncio.sleep(0.02)
    await front.wait(3)
    assert time.monotonic() - began >= 0.3
    assert seen.batches == [3]


@on_loop
async def test_the_loop_and_threads_share_a_batch(make: MakeBatcher, front: Front) -> None:
    model = Held()
    batcher = make(model, loop=front.loop)
    front.queue(batcher, 0)
    await front.until(model)
    future = call(batcher, 1)
    front.queue(batcher, 2)
    model.free()
    assert answer(future) == [2]  # while the loop waits
    assert front.ended == []
    await front.wait(2)
    assert [outputs(ended) for ended in front.ended] == [[0], [4]]
    assert model.batches == [[0], [1, 2]]


@pytest.mark.parametrize("error", [ValueError("secret"), MemoryError(), SystemExit(3)])
@on_loop
async def test_a_batch_that_fails_comes_back_in_one_step(make: MakeBatcher, front: Front, error: BaseException) -> None:
    def fails(instance: int, arrays: Arrays) -> Arrays:
        raise error

    batcher = make(fails, loop=front.loop)
    for n in range(4):
        front.queue(batcher, n)
    await front.wait(4)
    assert front.steps == 1
    assert all("secret" not in str(ended.error) for ended in front.ended)
    assert all(isinstance(ended.error, ModelFailed) and ended.outputs is None for ended in front.ended)
    assert len({id(ended.error) for ended in front.ended}) == 4


@pytest.mark.parametrize(("end", "error"), [("shorten", ShortDeadline), ("abandon", ClientGone)])
@on_loop
async def test_calls_that_nobody_waits_for_are_dropped_in_one_step_and_never_computed(
    make: MakeBatcher, front: Front, end: str, error: type[Exception]
) -> None:
    model = Held()
    batcher = make(model, loop=front.loop)
    front.queue(batcher, 0)
    await front.until(model)
    lives = [life(), life()]
    for n, its in enumerate(lives):
        front.queue(batcher, n, lives=its)
    front.queue(batcher, 5)
    for its in lives:
        its.shorten(0) if end == "shorten" else its.abandon()
    model.free()
    await front.wait(4)
    assert [type(ended.error) for ended in front.ended] == [type(None), error, error, type(None)]
    assert front.steps == 3  # the first batch, the dropped calls, the second batch
    assert model.batches == [[0], [5]]
    assert front.ended[1].taken == 0.0 < front.ended[1].ended


@on_loop
async def test_a_useless_call_in_a_full_queue_makes_room_and_is_told_in_a_later_turn(make: MakeBatcher, front: Front) -> None:
    model, gone = Held(), life()
    batcher = make(model, loop=front.loop, queue_limit=2)
    front.queue(batcher, 0)
    await front.until(model)
    front.queue(batcher, 1, lives=gone)
    front.queue(batcher, 2)
    with pytest.raises(QueueFull):
        front.queue(batcher, 3)
    gone.abandon()
    front.queue(batcher, 4)
    assert front.ended == []
    await front.wait(1)
    assert isinstance(front.ended[0].error, ClientGone)
    model.free()
    await front.wait(4)
    assert model.batches == [[0], [2, 4]]


@on_loop
async def test_an_answer_that_raises_harms_no_other(make: MakeBatcher, front: Front, caplog: pytest.LogCaptureFixture) -> None:
    def raises(_: Call) -> None:
        raise ValueError("a broken answer")

    batcher = make(double, loop=front.loop)
    front.queue(batcher, 1)
    front.queue(batcher, 2, done=raises)
    front.queue(batcher, 3)
    await front.wait(2)
    assert [outputs(ended) for ended in front.ended] == [[2], [6]]
    assert "a broken answer" in caplog.text


@pytest.mark.parametrize("fails", [False, True])
def test_a_loop_that_closed_harms_no_thread(make: MakeBatcher, front: Front, fails: bool) -> None:
    model, made = Held(), []

    def run(instance: int, arrays: Arrays) -> Arrays:
        found = model(instance, arrays)
        if fails and arrays["x"][0, 0] == 0:
            raise ValueError
        return found

    async def test() -> None:
        made.append(make(run, loop=front.loop))
        front.queue(made[0], 0)
        await front.until(model)
        front.queue(made[0], 1, lives=life(0))

    front.runner.run(test())
    front.runner.close()
    model.free()
    assert answer(call(made[0], 2)) == [4]
    assert made[0].close(PATIENCE)
    assert model.batches == [[0], [2]]


def test_a_batcher_without_a_loop_takes_no_calls_of_one(make: MakeBatcher) -> None:
    batcher = make(double)
    with pytest.raises(AssertionError, match="needs the loop"):
        batcher.enqueue(rows(1), 1, life(), lambda _: None, on_loop=True)
    assert batcher.waiting_rows() == 0
