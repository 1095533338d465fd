"""One model's queue: calls in, batches to the model's instances, rows back to the calls that still wait.

Knows rows, deadlines and threads. Does not know what runs a batch, or what a loop serves.

Concurrency. `_lock` guards the queue and the counters; `_work` wakes batch threads. Each instance has one thread, which takes a
batch under the lock and runs it without. A call that is split over batches is finished by the thread that brings its last part;
the lock decides which one that is. Calls are ended without the lock, so that `done` may submit again. A thread ends when
`close` was called and the queue is empty. An exception fails one batch and never ends the thread. When a thread hangs in its
model, its callers leave at their own deadlines; other threads go on, and `stuck_seconds` grows. The threads are daemons, since
a model that hangs must not keep a process alive. The interpreter would abort if such a thread returned from C++ code while it
ends, so it closes every batcher first.

The loop's calls are queued by the loop's thread. The first one that an idle instance could take has the loop wake an instance
after its turn, so that all requests which the loop reads in one turn make one batch. `_turn_ends` is set and reset by that
thread alone. A busy instance takes the next batch by itself. An instance finds the queue empty and begins to wait under the
lock: a call comes either before, and is found, or after, and wakes it. Calls that end together go back to the loop in one step.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from serving.base.errors import BadInput, NotReady, QueueFull
from serving.base.lifetime import Lifetime
from serving.base.priority import yield_to_others
from serving.models.calls import Call, CallQueue, Slice, add_part, failure, resolve, tell, why_useless
from serving.models.expected import forget
from serving.models.observer import Observer
from serving.models.rows import cut, join, key_of, split
from serving.models.tensors import Arrays

log = logging.getLogger("monopod.batcher")

IDLE_SECONDS = 2.0  # from an instance's last batch to the call of `idle`
END_SECONDS = 5.0  # for which the end of the interpreter waits for batches
COUNT_SECONDS = 0.001  # for which the count of useless rows in a full queue is kept, at least
COUNT_SECONDS_A_CALL = 2e-6  # and for each call in it, so that counting takes a small part of the time
_at_work: "weakref.WeakSet[Batcher]" = weakref.WeakSet()  # weak, since a running thread keeps its batcher alive


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
        self._useless_rows, self._count_again = 0, 0.0  # as counted in a full queue, and when to count again
        self._closed = False
        self._running: list[float | None] = [None] * instances  # since when each instance runs a batch
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
        call = Call(arrays, count, key_of(arrays), life, done, on_loop, self._clock())
        ended: list[Call] = []
        try:
            with self._lock:
                if self._closed:
                    raise NotReady(f"model {self.name} is being unloaded; try again")
                if self._queue.rows + count > self.queue_limit:
                    ended = self._remove_useless()
                if self._queue.rows + count > self.queue_limit:
                    raise QueueFull(
                        f"model {self.name} has {self._queue.rows} rows waiting of {self.queue_limit}; try again in a second"
                    )
                self._queue.append(call)
                if self._idlers:
                    self._wake_for(call)
        finally:
            if ended:
                self._drop(ended)
        forget(life)
        return call

    def waiting_rows(self, others: int = 0) -> int:
        """Return the rows that wait. In a full queue useless rows do not count, since the next call removes them.

        others: rows that do not wait here but count towards the limit. Useless rows are counted every COUNT_SECONDS at most.
        """
        rows = self._queue.rows
        if rows + others < self.queue_limit or not rows:
            return rows
        now = self._clock()
        if now < self._count_again:
            return max(0, rows - self._useless_rows)
        with self._lock:
            self._useless_rows = self._queue.useless_rows()
            self._count_again = now + max(COUNT_SECONDS, COUNT_SECONDS_A_CALL * len(self._queue))
            return self._queue.rows - self._useless_rows

    def oldest_age(self) -> float:
        """Return the age of the oldest waiting call, in seconds since its last byte, or 0 where none waits."""
        oldest = self.oldest()
        return 0.0 if oldest is None else self._clock() - oldest

    def oldest(self) -> float | None:
        """Return when the last byte of the oldest waiting call came, in seconds of the clock, or None where none waits."""
        with self._lock:
            return self._queue.oldest()

    def stuck_seconds(self) -> float:
        """Return for how long the oldest batch or call of `idle` has run, in seconds. Infinity where a thread has died."""
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

    def _wake_for(self, call: Call) -> None:
        """Wake an idle instance for a new call: now, or after the loop's turn. The caller holds the lock."""
        if not call.on_loop or self._queue.rows >= self.max_batch_size:
            self._work.notify()
        elif not self._turn_ends:
            assert self._loop is not None, "a call of the loop's needs the batcher's loop"
            self._loop.call_soon(self._end_turn)
            self._turn_ends = True

    def _end_turn(self) -> None:
        """Wake an instance for the calls that came in the loop's last turn."""
        self._turn_ends = False
        with self._lock:
            if self._queue and self._idlers:
                self._work.notify()

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
        """Wait for calls and return the rows of the next batch: none after the timeout, seconds, or None where closed."""
        while True:
            slices: list[Slice] = []
            ended: list[Call] = []
            with self._lock:
                if self._queue:
                    ended = self._remove_useless() if self._delay else []  # a useless call must not end the delay
                    wait = self._wait_for_more()
                    if wait <= 0:
                        slices, dropped = self._next_batch()
                        ended += dropped
                    elif not ended:
                        self._wait(wait)
                elif self._closed:
                    return None
                elif not self._wait(timeout) and not self._queue:  # a call may come while the time-out ends
                    return []
            if ended:
                self._drop(ended)
            if slices:
                return slices

    def _wait(self, timeout: float | None) -> bool:
        """Wait to be woken, and return whether that came before the timeout, seconds. The caller holds the lock."""
        self._idlers += 1
        try:
            return self._work.wait(timeout)
        finally:
            self._idlers -= 1

    def _wait_for_more(self) -> float:
        """Return for how long to wait for a fuller batch, in seconds. The caller holds the lock."""
        if not self._delay or self._closed or not self._queue or self._queue.rows >= self.max_batch_size:
            return 0.0
        return self._queue.first_queued() + self._delay - self._clock()

    def _remove_useless(self) -> list[Call]:
        """Remove the calls that nobody waits for, and return those to end. The caller holds the lock."""
        self._useless_rows = 0
        return self._queue.remove_useless()

    def _next_batch(self) -> tuple[list[Slice], list[Call]]:
        """Remove the rows of the next batch, and return them with the useless calls to end. The caller holds the lock."""
        slices, ended = self._queue.take(self.max_batch_size, not self.batched, self._clock())
        self._useless_rows = 0
        if self._queue and self._idlers:
            self._work.notify()
        return slices, ended

    def _run(self, instance: int, slices: list[Slice]) -> None:
        """Run one batch and give each call its part. A failure concerns this batch alone."""
        try:
            inputs = join([self._inputs(s) for s in slices])
            joined = self._clock()
            for s in slices:
                if s.start == 0 and not s.call.joined:  # a call that is judged alone runs again
                    s.call.joined = joined
            outputs = self._run_model(instance, inputs)
            ended = self._clock()
            counts = [s.stop - s.start for s in slices]
            parts = split(outputs, counts) if self.batched else [outputs]
        except BadInput as error:
            self._run_apart(instance, slices, error)
            return
        except BaseException as error:
            log.exception("a batch of model %s failed", self.name)
            self._fail(slices, error)
            return
        self._observer.batch(self.name, sum(counts), ended - joined)
        self._deliver(slices, parts, ended)

    def _run_apart(self, instance: int, slices: list[Slice], error: BadInput) -> None:
        """Run each call of a refused batch alone, so that the others succeed: only the model can check its values."""
        if len(slices) == 1:
            self._end(self._claim(slices), lambda _: error)
            return
        for one in slices:
            if one.call.life.over():
                self._drop(self._claim([one]))
            else:
                self._running[instance] = self._clock()
                self._run(instance, [one])

    def _deliver(self, slices: list[Slice], parts: list[Arrays], ended: float) -> None:
        """Give the calls their outputs, and end those that are whole."""
        with self._lock:
            whole = [s.call for s, part in zip(slices, parts, strict=True) if add_part(s, part)]
        for call in whole:
            call.ended = ended
            try:
                call.outputs = join([call.parts[start] for start in sorted(call.parts)])
            except Exception as error:  # the model returned parts of different shapes
                call.error = failure(self.name, error)
        self._hand_over(whole)

    def _fail(self, slices: list[Slice], error: BaseException) -> None:
        """End every call of a batch with ModelFailed."""
        self._end(self._claim(slices), lambda _: failure(self.name, error))

    def _drop(self, useless: list[Call]) -> None:
        """End calls that nobody waits for, each with its cause."""
        self._end(useless, why_useless)

    def _claim(self, slices: list[Slice]) -> list[Call]:
        """Return the calls that have not ended. The caller has to end them."""
        with self._lock:
            return [s.call for s in slices if s.call.finish()]

    def _end(self, calls: list[Call], error_of: Callable[[Call], Exception]) -> None:
        """End calls with errors."""
        now = self._clock()
        for call in calls:
            call.error, call.ended = error_of(call), now
        self._hand_over(calls)

    def _hand_over(self, calls: list[Call]) -> None:
        """Tell who waits for these calls: the loop of all its calls in one step, and others from this thread."""
        of_loop = [call for call in calls if call.on_loop]
        if of_loop and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
                self._loop.call_soon_threadsafe(tell, of_loop)
        if len(of_loop) < len(calls):
            tell(call for call in calls if not call.on_loop)

    def _inputs(self, piece: Slice) -> Arrays:
        """Return the rows of a call that run in a batch, without copying them."""
        call = piece.call
        whole = not self.batched or piece.stop - piece.start == call.rows
        return call.arrays if whole else cut(call.arrays, piece.start, piece.stop)


@atexit.register
def _close_all() -> None:
    """Close every batcher as the interpreter ends. A second Ctrl-C ends the process at once."""
    end = time.monotonic() + END_SECONDS
    try:
        for batcher in list(_at_work):
            batcher.close(end - time.monotonic())
    except KeyboardInterrupt:
        os._exit(130)
