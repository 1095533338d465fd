"""Calls become batches and rows come back, on real threads, with models of a few lines that a test can hold."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import numpy as np
import pytest

import serving.models.batcher
from serving.base.errors import BadInput, ClientGone, DeadlinePassed, ModelFailed, NotReady, QueueFull
from serving.base.lifetime import Lifetime
from serving.models.batcher import Batcher
from serving.models.tensors import Arrays
from tests.serving.models.recording import RecordingObserver

PATIENCE = 20.0  # seconds for which a test waits for a thread


class Held:
    """A model that doubles its rows. Each batch waits until the test lets it go on."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.entered, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, instance: int, arrays: Arrays) -> Arrays:
        self.batches.append(arrays["x"].ravel().tolist())
        self.entered.release()
        assert self.go.acquire(timeout=PATIENCE)
        return {"y": arrays["x"] * 2}

    def wait(self) -> None:
        """Wait until one more batch runs."""
        assert self.entered.acquire(timeout=PATIENCE)

    def free(self) -> None:
        """Hold no batch any more."""
        self.go.release(1000)


def double(instance: int, arrays: Arrays) -> Arrays:
    return {"y": arrays["x"] * 2}


def rows(*values: float) -> Arrays:
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


def life(seconds: float = PATIENCE) -> Lifetime:
    return Lifetime(time.monotonic(), seconds)


def answer(future: Future[Arrays]) -> list[float]:
    values: list[float] = future.result(PATIENCE)["y"].ravel().tolist()
    return values


def call(batcher: Batcher, *values: float, lives: Lifetime | None = None) -> Future[Arrays]:
    return batcher.submit(rows(*values), len(values), lives or life())


MakeBatcher = Callable[..., Batcher]


@pytest.fixture
def make() -> Iterator[MakeBatcher]:
    """Return a maker of batchers, which are closed after the test."""
    made: list[tuple[Batcher, Any]] = []

    def maker(run: Any, observer: Any = None, **options: Any) -> Batcher:
        made.append((Batcher("m", run, observer or RecordingObserver(), **options), run))
        return made[-1][0]

    yield maker
    for batcher, run in made:
        if isinstance(run, Held):
            run.free()
        assert batcher.close(PATIENCE)


def test_a_call_gets_its_own_rows(make: MakeBatcher) -> None:
    assert answer(call(make(double), 1, 2, 3)) == [2, 4, 6]


def test_rows_are_counted_and_not_requests(make: MakeBatcher) -> None:
    model, seen = Held(), RecordingObserver()
    batcher = make(model, seen, max_batch_size=8)
    first = call(batcher, 0)
    model.wait()
    calls = [call(batcher, 1, 2, 3), call(batcher, 4, 5, 6), call(batcher, 7, 8, 9)]
    assert batcher.waiting_rows() == 9
    model.free()
    assert [answer(one) for one in (first, *calls)] == [[0], [2, 4, 6], [8, 10, 12], [14, 16, 18]]
    assert model.batches == [[0], [1, 2, 3, 4, 5, 6, 7, 8], [9]]
    assert batcher.close(PATIENCE)
    assert seen.batches == [1, 8, 1]


def test_a_free_instance_takes_at_once_what_is_queued(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, instances=2, max_batch_size=4)
    one = call(batcher, 1)
    model.wait()
    other = call(batcher, 2)
    model.wait()  # the second instance did not wait for the first, nor for a fuller batch
    late = [call(batcher, n) for n in (3, 4, 5, 6, 7)]
    assert batcher.waiting_rows() == 5
    model.free()
    assert [answer(f) for f in (one, other, *late)] == [[2 * n] for n in range(1, 8)]
    assert model.batches[:2] == [[1], [2]]
    assert [3, 4, 5, 6] in model.batches


def test_a_batch_that_is_not_full_waits_for_the_delay(make: MakeBatcher) -> None:
    model = Held()
    model.free()
    batcher = make(model, max_batch_size=4, max_queue_delay=0.5)
    began = time.monotonic()
    one = call(batcher, 1)
    other = call(batcher, 2)
    assert (answer(one), answer(other)) == ([2], [4])
    assert time.monotonic() - began >= 0.5
    assert model.batches == [[1, 2]]


def test_a_full_batch_waits_for_nothing(make: MakeBatcher) -> None:
    model = Held()
    model.free()
    batcher = make(model, max_batch_size=4, max_queue_delay=PATIENCE * 2)
    calls = [call(batcher, 1, 2), call(batcher, 3), call(batcher, 4)]
    assert [answer(one) for one in calls] == [[2, 4], [6], [8]]
    assert model.batches == [[1, 2, 3, 4]]


def test_closing_waits_for_no_delay(make: MakeBatcher) -> None:
    batcher = make(double, max_queue_delay=PATIENCE * 2)
    waiting = call(batcher, 1)
    assert batcher.close(PATIENCE)
    assert answer(waiting) == [2]


def test_a_call_of_more_rows_is_split_and_its_answer_is_whole(make: MakeBatcher) -> None:
    seen = RecordingObserver()
    batcher = make(double, seen, max_batch_size=8)
    assert answer(call(batcher, *range(20))) == [2 * n for n in range(20)]
    assert batcher.close(PATIENCE)
    assert seen.batches == [8, 8, 4]


def test_parts_that_come_back_in_another_order_are_put_in_order(make: MakeBatcher) -> None:
    gates = [threading.Event() for _ in range(3)]
    entered = threading.Semaphore(0)

    def run(instance: int, arrays: Arrays) -> Arrays:
        entered.release()
        assert gates[int(arrays["x"][0, 0]) // 4].wait(PATIENCE)
        return {"y": arrays["x"] * 2}

    batcher = make(run, instances=3, max_batch_size=4)
    future = call(batcher, *range(12))
    for _ in range(3):
        assert entered.acquire(timeout=PATIENCE)
    for gate in reversed(gates):
        assert not future.done()
        gate.set()
    assert answer(future) == [2 * n for n in range(12)]


def test_shapes_that_cannot_be_joined_run_apart_and_oldest_first(make: MakeBatcher) -> None:
    shapes: list[tuple[int, ...]] = []
    model = Held()

    def run(instance: int, arrays: Arrays) -> Arrays:
        shapes.append(arrays["x"].shape)
        return model(instance, arrays)

    batcher = make(run, max_batch_size=8)
    first = call(batcher, 0)
    model.wait()
    wide = [batcher.submit({"x": np.full((1, 2), n, np.float32)}, 1, life()) for n in (1, 2)]
    narrow = call(batcher, 3)
    other = batcher.submit({"x": np.full((1, 2), 4, np.float64)}, 1, life())
    wide.append(batcher.submit({"x": np.full((1, 2), 5, np.float32)}, 1, life()))
    model.free()
    assert [answer(f) for f in wide] == [[2, 2], [4, 4], [10, 10]]
    assert (answer(first), answer(narrow), answer(other)) == ([0], [6], [8, 8])
    assert shapes == [(1, 1), (3, 2), (1, 1), (1, 2)]


def test_the_queue_limit_counts_rows(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, queue_limit=5)
    running = call(batcher, 0, 0, 0)
    model.wait()
    waiting = [call(batcher, 1, 2), call(batcher, 3, 4, 5)]
    with pytest.raises(QueueFull, match="model m has 5 rows waiting of 5"):
        call(batcher, 6)
    model.free()
    assert [answer(f) for f in (running, *waiting)] == [[0, 0, 0], [2, 4], [6, 8, 10]]
    assert batcher.waiting_rows() == 0
    assert answer(call(batcher, 6)) == [12]


@pytest.mark.parametrize("end", ["expired", "abandoned", "cancelled"])
def test_calls_that_nobody_waits_for_make_room_and_are_never_computed(make: MakeBatcher, end: str) -> None:
    model = Held()
    batcher = make(model, queue_limit=4)
    running = call(batcher, 0)
    model.wait()
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
    model = Held()
    batcher = make(model)
    running = call(batcher, 0)
    model.wait()
    expired = [call(batcher, n, lives=life(0.01)) for n in (1, 2)]
    alive = call(batcher, 3)
    time.sleep(0.02)
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


@pytest.mark.parametrize("error", [ValueError("secret"), MemoryError(), KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_a_model_that_raises_fails_that_batch_alone(make: MakeBatcher, error: BaseException) -> None:
    model = Held()

    def run(instance: int, arrays: Arrays) -> Arrays:
        outputs = model(instance, arrays)
        if (arrays["x"] < 0).any():
            raise error
        return outputs

    batcher = make(run, max_batch_size=2)
    first = call(batcher, 0)
    model.wait()
    bad, mate, good = call(batcher, -1), call(batcher, 1), call(batcher, 2)
    model.free()
    assert answer(first) == [0]
    errors = [future.exception(PATIENCE) for future in (bad, mate)]
    for one in errors:
        assert isinstance(one, ModelFailed)
        assert str(one) == "model m failed on this batch; the log tells why"
    assert errors[0] is not errors[1]  # each caller's traceback would be added to a shared error
    assert answer(good) == [4]
    assert batcher.stuck_seconds() < PATIENCE


def test_what_the_engine_says_of_a_failure_reaches_its_callers(make: MakeBatcher) -> None:
    def run(instance: int, arrays: Arrays) -> Arrays:
        raise ModelFailed("out of memory")

    with pytest.raises(ModelFailed, match="^out of memory$"):
        answer(call(make(run), 1))


def test_an_exception_in_assembly_fails_that_batch_alone(make: MakeBatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(parts: Any) -> Arrays:
        monkeypatch.undo()
        raise MemoryError

    batcher = make(double)
    monkeypatch.setattr(serving.models.batcher, "join", no_memory)
    with pytest.raises(ModelFailed):
        answer(call(batcher, 1))
    assert answer(call(batcher, 2)) == [4]


@pytest.mark.parametrize(
    "outputs",
    [{"y": np.zeros((1, 1))}, {"y": np.zeros((3, 1))}, {"y": np.zeros(())}, {"y": [[1], [2]]}, None, [np.zeros((2, 1))]],
    ids=["too few", "too many", "scalar", "list", "none", "no table"],
)
def test_outputs_that_cannot_be_told_apart_fail_that_batch_alone(make: MakeBatcher, outputs: Any) -> None:
    batcher = make(lambda instance, arrays: outputs if arrays["x"][0, 0] < 0 else double(instance, arrays))
    with pytest.raises(ModelFailed):
        answer(call(batcher, -1, -2))
    assert answer(call(batcher, 1, 2)) == [2, 4]


def test_parts_of_one_call_that_do_not_fit_together_fail_it_alone(make: MakeBatcher) -> None:
    def run(instance: int, arrays: Arrays) -> Arrays:
        width = 1 + int(arrays["x"][0, 0]) % 2
        return {"y": np.repeat(arrays["x"], width, axis=1)}

    batcher = make(run, max_batch_size=1)
    with pytest.raises(ModelFailed):
        answer(call(batcher, 1, 2))
    assert answer(call(batcher, 2, 4)) == [2, 4]


def picky(instance: int, arrays: Arrays) -> Arrays:
    if (arrays["x"] < 0).any():
        raise BadInput(f"negative: {arrays['x'].min():g}")
    return {"y": arrays["x"] * 2}


def test_input_that_the_model_refuses_is_judged_call_by_call(make: MakeBatcher) -> None:
    model = Held()

    def run(instance: int, arrays: Arrays) -> Arrays:
        model(instance, arrays)
        return picky(instance, arrays)

    batcher = make(run)
    first = call(batcher, 0)
    model.wait()
    one, bad, other, worse = call(batcher, 1), call(batcher, -1, 5), call(batcher, 2, 3), call(batcher, -7)
    model.free()
    assert (answer(first), answer(one), answer(other)) == ([0], [2], [4, 6])
    assert [str(future.exception(PATIENCE)) for future in (bad, worse)] == ["negative: -1", "negative: -7"]
    assert model.batches == [[0], [1, -1, 5, 2, 3, -7], [1], [-1, 5], [2, 3], [-7]]


def test_who_leaves_while_calls_are_judged_is_not_computed_again(make: MakeBatcher) -> None:
    model, gone = Held(), life()

    def run(instance: int, arrays: Arrays) -> Arrays:
        model(instance, arrays)
        if len(arrays["x"]) > 1:
            gone.abandon()
        return picky(instance, arrays)

    batcher = make(run)
    first = call(batcher, 0)
    model.wait()
    bad, left = call(batcher, -1), call(batcher, 2, lives=gone)
    model.free()
    assert answer(first) == [0]
    assert isinstance(bad.exception(PATIENCE), BadInput)
    assert isinstance(left.exception(PATIENCE), ClientGone)
    assert model.batches == [[0], [-1, 2], [-1]]


def test_a_bad_row_fails_the_whole_of_its_call_and_the_rest_is_not_computed(make: MakeBatcher) -> None:
    computed: list[int] = []

    def run(instance: int, arrays: Arrays) -> Arrays:
        computed.append(len(arrays["x"]))
        return picky(instance, arrays)

    batcher = make(run, max_batch_size=2)
    with pytest.raises(BadInput):
        answer(call(batcher, -1, 2, 3, 4, 5, 6))
    assert answer(call(batcher, 7)) == [14]
    assert computed == [2, 1]


def test_a_hung_instance_leaves_the_others_working(make: MakeBatcher) -> None:
    hang, entered = threading.Event(), threading.Event()

    def run(instance: int, arrays: Arrays) -> Arrays:
        if arrays["x"][0, 0] < 0:
            entered.set()
            assert hang.wait(PATIENCE)
        return double(instance, arrays)

    batcher = make(run, instances=2, max_batch_size=2)
    hung = life(0.1)
    future = call(batcher, -1, lives=hung)
    assert entered.wait(PATIENCE)
    since = time.monotonic()
    with pytest.raises(FutureTimeout):
        future.result(hung.left())
    for n in range(5):
        assert answer(call(batcher, n)) == [2 * n]
    at_least = time.monotonic() - since
    stuck = batcher.stuck_seconds()
    assert stuck >= at_least
    assert batcher.stuck_seconds() > stuck
    assert not batcher.close(0.05)
    hang.set()
    assert batcher.close(PATIENCE)
    assert batcher.stuck_seconds() == 0.0


def test_when_every_instance_hangs_waiting_calls_expire_and_make_room(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, queue_limit=2)
    hung = call(batcher, 1, lives=life(0.01))
    model.wait()
    waiting = [call(batcher, n, lives=life(0.01)) for n in (2, 3)]
    time.sleep(0.02)
    assert not hung.done()
    more = call(batcher, 4)
    assert all(isinstance(f.exception(PATIENCE), DeadlinePassed) for f in waiting)
    model.free()
    assert answer(more) == [8]


def test_a_model_without_a_batch_axis_runs_calls_alone_and_as_they_are(make: MakeBatcher) -> None:
    inputs: list[Any] = []

    def run(instance: int, arrays: Arrays) -> Any:
        inputs.append(arrays["x"])
        return {"y": arrays["x"].sum(), "z": np.zeros((7, 3))}

    seen = RecordingObserver()
    batcher = make(run, seen, batched=False, max_batch_size=8, max_queue_delay=PATIENCE)
    given: list[Any] = [np.array(3, np.float32), np.ones((5, 2), np.float32), np.ones((5, 2), np.float32)]
    futures = [batcher.submit({"x": array}, 1, life()) for array in given]
    assert [float(future.result(PATIENCE)["y"]) for future in futures] == [3.0, 10.0, 10.0]
    assert futures[0].result()["z"].shape == (7, 3)
    assert all(had is gave for had, gave in zip(inputs, given, strict=True))
    assert batcher.close(PATIENCE)
    assert seen.batches == [1, 1, 1]


def test_closing_finishes_the_queue_and_refuses_new_calls(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, instances=2, max_batch_size=2)
    calls = [call(batcher, n, n + 1) for n in range(6)]
    model.wait()
    closed: list[bool] = []
    closing = threading.Thread(target=lambda: closed.append(batcher.close(PATIENCE)))
    closing.start()
    while not batcher._closed:
        time.sleep(0.001)
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


def test_giving_back_that_raises_or_hangs_is_noticed(make: MakeBatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.models.batcher, "IDLE_SECONDS", 0.01)
    entered, hang = threading.Event(), threading.Event()

    def on_idle(instance: int) -> None:
        entered.set()
        assert hang.wait(PATIENCE)
        raise ValueError("no memory to give back")

    batcher = make(double, idle=on_idle)
    assert answer(call(batcher, 1)) == [2]
    assert entered.wait(PATIENCE)
    time.sleep(0.03)
    assert batcher.stuck_seconds() >= 0.02
    hang.set()
    assert answer(call(batcher, 2)) == [4]


def test_an_observer_that_raises_loses_no_caller(make: MakeBatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = RecordingObserver()
    batcher = make(double, seen)

    def broken(*_: Any) -> None:
        raise ValueError("metrics are broken")

    with monkeypatch.context() as patch:
        patch.setattr(seen, "batch", broken)
        with pytest.raises(ModelFailed):
            answer(call(batcher, 1))
    assert answer(call(batcher, 2)) == [4]


def test_a_dead_batch_thread_is_told(make: MakeBatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batcher, "_serve", lambda *_: None)
    batcher = make(double)
    for thread in batcher._threads:
        thread.join(PATIENCE)
    assert batcher.stuck_seconds() == float("inf")


def test_the_callback_of_any_call_may_submit_again(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, queue_limit=4)
    again: list[Future[Arrays]] = []

    def submit(_: Any) -> None:
        again.append(call(batcher, 100))

    running = call(batcher, 0)
    model.wait()
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
    while len(again) < 3:  # from a call that the batch thread removed, and from an answered one
        time.sleep(0.001)
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


def test_an_idle_thread_keeps_no_batch_alive(make: MakeBatcher) -> None:
    batcher = make(double)
    for fails in (False, True):
        arrays = {"x": np.full((2, 1), -1 if fails else 1, np.float32)}
        kept = weakref.ref(arrays["x"])
        assert answer(batcher.submit(arrays, 2, life()))
        del arrays
        end = time.monotonic() + PATIENCE
        while kept() is not None and time.monotonic() < end:
            gc.collect()
            time.sleep(0.005)
        assert kept() is None


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
    model.free()
    assert (answer(running), answer(waiting)) == ([0], [2])


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

    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {what: outcomes.count(what) for what in set(outcomes)} == {"answered": 384, "bad": 128, "gone": 128}
    assert batcher.waiting_rows() == 0
    assert batcher.stuck_seconds() < PATIENCE
