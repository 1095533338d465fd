"""One model's queue: calls in, batches to the model's instances, rows back to the calls that still wait.

Concurrency. `_lock` guards the queue and the counters; `_work` wakes batch threads. Each instance has one thread, which takes a
batch under the lock and runs it without. A call that is split over batches is finished by the thread that brings its last part;
the lock decides which one that is. `done` is called without the lock, so that it may submit again. A thread ends when `close`
was called and the queue is empty. An exception fails one batch and never ends the thread. When a thread hangs in its model, its
callers leave at their own deadlines; other threads go on, and `stuck_seconds` grows. The threads are daemons, since a model
that hangs must not keep a process alive. The interpreter would abort if such a thread returned from C++ code while it ends, so
it closes every batcher first.

The loop's calls are queued by the loop's thread. Where an instance is idle, the loop wakes it at the end of its turn, so that
all requests which it reads in one turn make one batch. `_turn_ends` is set and reset by that thread alone. A busy instance
takes the next batch by itself. An instance finds the queue empty and begins to wait under the lock: a call that comes before is
found, and a call that comes after wakes it. Calls that end together go back to the loop in one step.
"""

import asyncio
import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Protocol

from serving.base.errors import BadInput, NotReady, QueueFull
from serving.base.lifetime import Lifetime
from serving.base.process import yield_to_others
from serving.models.calls import Call, CallQueue, Slice, failure, hand_over, resolve
from serving.models.tensors import Arrays, join_rows, key_of, split_rows

log = logging.getLogger("monopod.batcher")

IDLE_SECONDS = 2.0  # from an instance's last batch to the call of `idle`
END_SECONDS = 60.0  # The end of the interpreter waits this long for batches, since a running one may abort the process.
_at_work: "weakref.WeakSet[Batcher]" = weakref.WeakSet()  # weak, since a running thread keeps its batcher alive


class Observer(Protocol):
    """The metrics to which models report. Any thread may call it. All times are seconds. costs: rows of a batch -> seconds."""

    def batch(self, model: str, rows: int, seconds: float) -> None: ...

    def batch_failed(self, model: str) -> None: ...

    def model_loaded(self, model: str, provider: str, instances: int, threads: int, costs: dict[int, float]) -> None: ...

    def model_unloaded(self, model: str) -> None: ...


class Batcher:
    """Joins calls into batches.

    Each instance has a thread of its own. `run(instance, arrays)` returns the outputs of a batch, one row for each input row.
    `idle(instance)` is called IDLE_SECONDS after the instance's last batch. Without `batched`, each call runs alone and as it
    is. `max_batch_size` and `queue_limit` count rows, and `max_queue_delay` is in seconds. With `yields_cores`, the threads let
    other threads have the cores first. `loop` is the one whose thread may queue calls that are answered on it. `clock` gives
    seconds.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[int, Arrays], Arrays],
        observer: Observer,
        *,
        instances: int = 1,
        batched: bool = True,
        max_batch_size: int = 8,
        queue_limit: int = 64,
        max_queue_delay: float = 0.0,
        idle: Callable[[int], None] | None = None,
        yields_cores: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name, self._run_model, self._idle, self._observer = name, run, idle, observer
        self.max_batch_size = max_batch_size if batched else 1
        self.batched, self.queue_limit, self._delay, self._yields_cores = batched, queue_limit, max_queue_delay, yields_cores
        self._loop, self._clock = loop, clock
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._queue = CallQueue()
        self._idlers = 0  # instances that wait for work
        self._turn_ends = False  # whether the loop will wake an instance after its turn
        self._closed = False
        self._running: list[float | None] = [None] * instances  # since when each instance runs a batch
        self.rows_on_loop = 0  # that wait for a batch which the loop runs; its thread alone writes
        self._threads = [
            threading.Thread(target=self._serve, args=(i,), name=f"batch-{name}-{i}", daemon=True) for i in range(instances)
        ]
        for thread in self._threads:
            thread.start()
        _at_work.add(self)

    def submit(self, arrays: Arrays, count: int, life: Lifetime) -> Future[Arrays]:
        """Queue a call as `enqueue` does. The future holds the outputs or a ServingError."""
        future: Future[Arrays] = Future()
        self.enqueue(arrays, count, life, partial(resolve, future)).cancelled = future.cancelled
        return future

    def enqueue(self, arrays: Arrays, count: int, life: Lifetime, done: Callable[[Call], None], on_loop: bool = False) -> Call:
        """Queue a call of `count` rows, which must be checked already. `done(call)` is called once, with its outputs or error.

        A batch thread calls `done`, or another caller's thread where the call is useless and its place is needed. With
        `on_loop`, the loop's thread queues the call and calls `done`, in a later turn. Raises QueueFull where the rows do not
        fit the queue, NotReady where the model is being closed.
        """
        assert self._loop is not None or not on_loop, "a call of the loop's needs the loop that the batcher was made with"
        call = Call(arrays, count, key_of(arrays), life, done, on_loop, self._clock())
        useless: list[Call] = []
        try:
            with self._lock:
                if self._closed:
                    raise NotReady(f"model {self.name} is being unloaded; try again")
                if self._queue.rows + count > self.queue_limit:
                    useless = self._queue.remove_useless()
                if self._queue.rows + count > self.queue_limit:
                    raise QueueFull(
                        f"model {self.name} has {self._queue.rows} rows waiting of {self.queue_limit}; try again in a second"
                    )
                self._queue.append(call)
                self._wake(after_turn=on_loop and self._queue.rows < self.max_batch_size)
        finally:
            if useless:
                self._end(useless, Call.why_useless)
        return call

    def waiting_rows(self) -> int:
        """Return the rows that wait and that a caller still wants."""
        with self._lock:
            return self._queue.useful_rows(self._clock()) + self.rows_on_loop

    def has_waiting(self, least: int) -> bool:
        """Return whether at least `least` rows wait. Useless rows are counted only where they may decide that.

        Rows of the loop's next batch count as running.
        """
        least += min(self.rows_on_loop, self.max_batch_size)
        return self._queue.rows + self.rows_on_loop >= least and self.waiting_rows() >= least

    def oldest_age(self) -> float:
        """Return the age of the oldest waiting call, in seconds since its last byte, or 0 where none waits."""
        with self._lock:
            oldest = self._queue.oldest()
        return 0.0 if oldest is None else self._clock() - oldest

    def stuck_seconds(self) -> float:
        """Return the seconds for which the oldest batch or call of `idle` has run, infinity where a thread has died."""
        if not self._closed and not all(thread.is_alive() for thread in self._threads):
            return float("inf")
        now = self._clock()
        return max((now - since for since in self._running if since is not None), default=0.0)

    def close(self, timeout: float) -> bool:
        """Refuse new calls, finish the queue and end the threads. Return whether all ended within the timeout, seconds."""
        with self._lock:
            self._closed = True
            self._work.notify_all()
        end = time.monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():  # a future's callback may close, on a batch thread
                thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _wake(self, after_turn: bool = False) -> None:
        """Wake an idle instance for the calls that wait, now or after the loop's turn. The caller holds the lock."""
        if not self._idlers or not self._queue:
            return
        if not after_turn:
            self._work.notify()
        elif self._loop is not None and not self._turn_ends:
            self._loop.call_soon(self._end_turn)
            self._turn_ends = True

    def _end_turn(self) -> None:
        self._turn_ends = False
        with self._lock:
            self._wake()

    def _serve(self, instance: int) -> None:
        if self._yields_cores:
            yield_to_others()
        worked: bool | None = False
        while worked is not None:
            worked = self._turn(instance, worked)

    def _turn(self, instance: int, worked: bool) -> bool | None:
        """Wait for a batch and run it. Return whether there was one, or None where the batcher is closed."""
        slices: list[Slice] | None = None
        try:
            slices = self._take(IDLE_SECONDS if worked and self._idle else None)
            if slices is None:
                return None
            self._running[instance] = self._clock()
            if slices:
                self._run(instance, slices)
            elif self._idle:
                self._idle(instance)
        except BaseException as error:  # the thread survives anything that a model or an observer raises
            log.exception("batch thread of model %s", self.name)
            self._fail(slices or [], error)
        finally:
            self._running[instance] = None
        return bool(slices)

    def _take(self, timeout: float | None) -> list[Slice] | None:
        """Wait for calls and return the rows of the next batch: none after the timeout in seconds, None where closed."""
        while True:
            slices: list[Slice] = []
            useless: list[Call] = []
            with self._lock:
                if self._delay:  # a useless call must not end the delay
                    useless = self._queue.remove_useless()
                if useless:
                    pass
                elif self._queue:
                    wait = self._wait_for_more()
                    if wait <= 0:
                        slices, useless = self._queue.take(self.max_batch_size, not self.batched, self._clock())
                        self._wake()
                    else:
                        self._wait(wait)
                elif self._closed:
                    return None
                elif not self._wait(timeout) and not self._queue:  # a call may come while the time-out ends
                    return []
            if useless:
                self._end(useless, Call.why_useless)
            if slices:
                return slices

    def _wait(self, timeout: float | None) -> bool:
        """Wait to be woken, and return whether that came before the timeout, seconds. The caller holds the lock."""
        self._idlers += 1
        woken = self._work.wait(timeout)
        self._idlers -= 1
        return woken

    def _wait_for_more(self) -> float:
        """Return the seconds to wait for a fuller batch."""
        waits = self._delay and not self._closed and self._queue.rows < self.max_batch_size
        return self._queue.first_queued() + self._delay - self._clock() if waits else 0.0

    def _run(self, instance: int, slices: list[Slice]) -> None:
        try:
            inputs = join_rows([s.inputs() for s in slices])
            joined = self._clock()
            for s in slices:
                if not s.call.joined:  # of a call that is split, its first batch counts
                    s.call.joined = joined
            outputs = self._run_model(instance, inputs)
            ended = self._clock()
            counts = [s.stop - s.start for s in slices]
            parts = split_rows(outputs, counts) if self.batched else [outputs]
        except BadInput as error:
            self._run_apart(instance, slices, error)
            return
        except BaseException as error:
            log.exception("a batch of model %s failed", self.name)
            self._observer.batch_failed(self.name)
            self._fail(slices, error)
            return
        self._observer.batch(self.name, sum(counts), ended - joined)
        with self._lock:
            whole = [s.call for s, part in zip(slices, parts, strict=True) if s.add(part)]
        for call in whole:
            call.ended = ended
            if call.parts is not None:
                call.join_parts(self.name, call.parts)
        hand_over(whole, self._loop)

    def _run_apart(self, instance: int, slices: list[Slice], error: BadInput) -> None:
        """Run each call of a refused batch alone, so that the others succeed: only the model can check its values."""
        if len(slices) == 1:
            self._end([slices[0].call], lambda _: error)
            return
        for one in slices:
            if one.call.useless():
                self._end([one.call], Call.why_useless)
            else:
                self._running[instance] = self._clock()
                self._run(instance, [one])

    def _fail(self, slices: list[Slice], error: BaseException) -> None:
        self._end([s.call for s in slices], lambda _: failure(self.name, error))

    def _end(self, calls: list[Call], error_of: Callable[[Call], Exception]) -> None:
        with self._lock:
            first = [call for call in calls if call.finish()]
        for call in first:
            call.error, call.ended = error_of(call), self._clock()
        hand_over(first, self._loop)


@atexit.register
def _close_all() -> None:
    """Close every batcher as the interpreter ends. A second Ctrl-C ends the process at once."""
    end = time.monotonic() + END_SECONDS
    try:
        for batcher in list(_at_work):
            batcher.close(end - time.monotonic())
    except KeyboardInterrupt:
        os._exit(130)
