"""One model's queue: calls in, batches to the model's instances, rows back to the calls that still wait.

Knows rows, deadlines and threads. Does not know what runs a batch.

Concurrency. `_lock` guards the queue and the counters; `_work` wakes batch threads. Each instance has one thread, which takes a
batch under the lock and runs it without. A call that is split over batches is finished by the thread that brings its last part;
the lock decides which one that is. Futures are resolved without the lock, so that their callbacks may submit again. A thread
ends when `close` was called and the queue is empty. An exception fails one batch and never ends the thread. When a thread hangs
in its model, its callers leave at their own deadlines, since they wait with a time-out; other threads go on, and
`stuck_seconds` grows. The threads are daemons, since a model that hangs must not keep a process alive. The interpreter would
abort if such a thread returned from C++ code while it ends, so it closes every batcher first.
"""

import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError

from serving.base.errors import BadInput, NotReady, QueueFull
from serving.base.lifetime import Lifetime
from serving.base.priority import yield_to_others
from serving.models.calls import Call, Slice, discard, fail, fail_all, failure
from serving.models.observer import Observer
from serving.models.rows import cut, join, key_of, split
from serving.models.tensors import Arrays

log = logging.getLogger("monopod.batcher")

IDLE_SECONDS = 2.0  # from an instance's last batch to the call of `idle`
END_SECONDS = 5.0  # for which the end of the interpreter waits for batches
_at_work: "weakref.WeakSet[Batcher]" = weakref.WeakSet()  # weak, since a running thread keeps its batcher alive


class Batcher:
    """Joins calls into batches.

    Each instance has a thread of its own. `run(instance, arrays)` returns the outputs of a batch, one row for each input row.
    `idle(instance)` is called IDLE_SECONDS after the instance's last batch. Without `batched`, each call runs alone and as it
    is. `max_batch_size` and `queue_limit` count rows, and `max_queue_delay` is in seconds. With `yields_cores`, the threads let
    other threads have the cores first.
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
    ):
        self.name, self._run_model, self._idle, self._observer = name, run, idle, observer
        self.max_batch_size = max_batch_size if batched else 1
        self.batched, self.queue_limit, self._delay, self._yields_cores = batched, queue_limit, max_queue_delay, yields_cores
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._queue: deque[Call] = deque()
        self._waiting = 0  # rows that no batch has taken
        self._closed = False
        self._running: list[float | None] = [None] * instances  # since when each instance runs a batch
        self._threads = [
            threading.Thread(target=self._loop, args=(i,), name=f"batch-{name}-{i}", daemon=True) for i in range(instances)
        ]
        for thread in self._threads:
            thread.start()
        _at_work.add(self)

    def submit(self, arrays: Arrays, count: int, life: Lifetime) -> Future[Arrays]:
        """Queue a call of `count` rows, which must be checked already. The future holds the outputs or a ServingError.

        Raises QueueFull where the rows do not fit the queue, NotReady where the model is being closed.
        """
        call = Call(arrays, count, key_of(arrays), life, time.monotonic(), Future())
        expired: list[Call] = []
        try:
            with self._lock:
                if self._closed:
                    raise NotReady(f"model {self.name} is being unloaded; try again")
                if self._waiting + count > self.queue_limit:
                    expired = self._remove_expired()
                if self._waiting + count > self.queue_limit:
                    raise QueueFull(
                        f"model {self.name} has {self._waiting} rows waiting of {self.queue_limit}; try again in a second"
                    )
                self._queue.append(call)
                self._waiting += count
                self._work.notify()
        finally:
            discard(expired)
        return call.future

    def waiting_rows(self) -> int:
        """Return the rows that wait. In a full queue expired rows do not count, since the next call removes them."""
        if self._waiting < self.queue_limit:
            return self._waiting
        with self._lock:
            return sum(call.rows - call.taken for call in self._queue if not call.life.over())

    def oldest_age(self) -> float:
        """Return the age of the oldest waiting call, in seconds since its last byte, or 0 where none waits."""
        with self._lock:
            return time.monotonic() - min(c.life.received for c in self._queue) if self._queue else 0.0

    def stuck_seconds(self) -> float:
        """Return for how long the oldest batch or call of `idle` has run, in seconds. Infinity where a thread has died."""
        if not self._closed and not all(thread.is_alive() for thread in self._threads):
            return float("inf")
        now = time.monotonic()
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

    def _loop(self, instance: int) -> None:
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
            self._running[instance] = now = time.monotonic()
            for s in slices:
                if s.start == 0:
                    self._observer.stage("queue", now - s.call.queued)
            if slices:
                self._run(instance, slices)
            elif self._idle:
                self._idle(instance)
        except BaseException as error:  # the thread survives anything that a model, an observer or a callback raises
            log.exception("batch thread of model %s", self.name)
            fail_all(self.name, slices or [], error)
        finally:
            self._running[instance] = None
        return bool(slices)

    def _take(self, timeout: float | None) -> list[Slice] | None:
        """Wait for calls and return the rows of the next batch: none after the timeout, seconds, or None where closed."""
        while True:
            with self._lock:
                expired = self._remove_expired()
                if expired:
                    pass
                elif self._queue:
                    wait = self._wait_for_more()
                    if wait <= 0:
                        return self._next_batch()
                    self._work.wait(wait)
                elif self._closed:
                    return None
                elif not self._work.wait(timeout) and not self._queue:  # a call may come while the time-out ends
                    return []
            discard(expired)

    def _wait_for_more(self) -> float:
        """Return for how long to wait for a fuller batch, in seconds."""
        if not self._delay or self._closed or self._waiting >= self.max_batch_size:
            return 0.0
        return self._queue[0].queued + self._delay - time.monotonic()

    def _remove_expired(self) -> list[Call]:
        """Remove and return the calls that nobody waits for, and those with a failed part. The caller holds the lock."""
        expired = [call for call in self._queue if call.life.over() or call.future.done()]
        for call in expired:
            self._queue.remove(call)
            self._waiting -= call.rows - call.taken
        return expired

    def _next_batch(self) -> list[Slice]:
        """Remove rows from the queue, the oldest first, as far as they can be joined and fit. The caller holds the lock."""
        slices: list[Slice] = []
        key, room = self._queue[0].key, self.max_batch_size
        for call in list(self._queue):
            if room == 0:
                break
            if call.key != key or (slices and not self.batched):
                continue
            size = min(room, call.rows - call.taken) if self.batched else call.rows
            slices.append(Slice(call, call.taken, call.taken + size))
            call.taken += size
            self._waiting -= size
            room = room - size if self.batched else 0
            if call.taken == call.rows:
                self._queue.remove(call)
        if self._queue:
            self._work.notify()
        return slices

    def _run(self, instance: int, slices: list[Slice]) -> None:
        """Run one batch and give each call its part. A failure concerns this batch alone."""
        try:
            began = time.monotonic()
            inputs = join([cut(s.call.arrays, s.start, s.stop) if self.batched else s.call.arrays for s in slices])
            joined = time.monotonic()
            outputs = self._run_model(instance, inputs)
            seconds = time.monotonic() - joined
            counts = [s.stop - s.start for s in slices]
            parts = split(outputs, counts) if self.batched else [outputs]
        except BadInput as error:
            self._run_apart(instance, slices, error)
            return
        except BaseException as error:
            log.exception("a batch of model %s failed", self.name)
            fail_all(self.name, slices, error)
            return
        self._observer.stage("batch", joined - began)
        self._observer.stage("infer", seconds)
        self._observer.batch(self.name, sum(counts), seconds)
        for s, part in zip(slices, parts, strict=True):
            self._deliver(s, part)

    def _run_apart(self, instance: int, slices: list[Slice], error: BadInput) -> None:
        """Run each call of a refused batch alone, so that the others succeed: only the model can check its values."""
        if len(slices) == 1:
            fail(slices[0].call, error)
            return
        for one in slices:
            if one.call.life.over():
                discard([one.call])
            else:
                self._running[instance] = time.monotonic()
                self._run(instance, [one])

    def _deliver(self, piece: Slice, part: Arrays) -> None:
        call = piece.call
        with self._lock:
            call.parts[piece.start] = part
            call.done += piece.stop - piece.start
            whole = call.done == call.rows
        if not whole:
            return
        try:
            outputs = join([call.parts[start] for start in sorted(call.parts)])
        except Exception as error:  # the model returned parts of different shapes
            fail(call, failure(self.name, error))
            return
        with contextlib.suppress(InvalidStateError):  # an earlier part may have failed the call
            call.future.set_result(outputs)


@atexit.register
def _close_all() -> None:
    """Close every batcher as the interpreter ends. A second Ctrl-C ends the process at once."""
    end = time.monotonic() + END_SECONDS
    try:
        for batcher in list(_at_work):
            batcher.close(end - time.monotonic())
    except KeyboardInterrupt:
        os._exit(130)
