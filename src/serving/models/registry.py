"""The models of one service, by name. serving.models.model_cache decides when each is in memory."""

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from serving.base.errors import NotFound, NotReady, QueueFull, StartError, WrongInputs
from serving.base.lifetime import HasLifetime, Lifetime
from serving.models.batcher import Observer
from serving.models.calls import Call
from serving.models.engine import Hardware
from serving.models.model import Function, Model, check_file, from_function, open_model
from serving.models.model_cache import Entry, ModelCache, ModelSource
from serving.models.options import on_demand_budget, options_of, per_session, share_at_start, share_on_demand
from serving.models.tensors import Arrays, ModelSpec, TensorSpec
from serving.settings import Settings, size_in_bytes

T = TypeVar("T")
GROUPS_AHEAD = 2  # of one request in the model's queue, so that the next one waits while the first is computed
FULL_QUEUE_SECONDS = 0.05  # until a full queue is tried again


class PendingRequests:
    """Admitted requests whose rows no queue counts yet: each counts as one row that waits for the model of its route.

    Concurrency. Any thread may call anything here, without a lock, since every step is one operation on a dict. The thread that
    admits a request calls `add`, before any other thread has the request. `pop` takes it out once, however many threads try. A
    request is taken out after its rows are queued, so it may be counted twice for a moment, but never nowhere. `list` copies a
    table in one step, so the oldest is looked for in a copy.
    """

    def __init__(self) -> None:
        self._tables: dict[str, dict[Lifetime, None]] = {}  # by names, which need not be models'
        self._table_of: dict[Lifetime, dict[Lifetime, None]] = {}

    def add(self, name: str, life: Lifetime) -> None:
        """Count one row for a model until `forget`. A request that is counted for another model is counted there no more."""
        table = self._tables.setdefault(name, {})
        before = self._table_of.get(life)
        table[life] = None
        self._table_of[life] = table
        if before is not None and before is not table:
            before.pop(life, None)

    def forget(self, life: Lifetime) -> None:
        """Count a request no more. It does no harm where it is not counted."""
        table = self._table_of.pop(life, None)
        if table is not None:
            table.pop(life, None)

    def rows(self, name: str) -> int:
        """Return the number of requests that are counted for a model."""
        return len(self._tables.get(name, ()))

    def oldest(self, name: str) -> float | None:
        """Return when the last byte of the oldest of a model's requests came, in seconds of its clock, or None."""
        return min((life.received for life in list(self._tables.get(name, ()))), default=None)

    def names(self) -> list[str]:
        """Return every name for which a request was ever counted."""
        return list(self._tables)


class Handle:
    """A model by its name. It may be in memory or be loaded on its next use."""

    def __init__(self, cache: ModelCache, entry: Entry, pending: PendingRequests):
        self._cache, self._entry, self._pending, self.name = cache, entry, pending, entry.name

    def __call__(self, arrays: Arrays | Iterator[Arrays], request: HasLifetime) -> Arrays:
        """Run the model on some rows and wait for the outputs, which have as many rows.

        arrays: by the names of the inputs, with their dtypes and ranks. The first axis counts rows, where the model has such an
        axis. An iterator gives rows in groups, such as frames of a video: GROUPS_AHEAD of them wait for the model while it
        gives more, and the outputs come joined, in order. It waits for room in a full queue.
        request: whose deadline holds. Raises BadInput, TooLarge, QueueFull, ModelFailed, DeadlinePassed.
        """
        if isinstance(arrays, Iterator):
            return self._in_groups(arrays, request)
        return request.life.result_of(self.submit(arrays, request))

    def _in_groups(self, groups: Iterator[Arrays], request: HasLifetime) -> Arrays:
        waiting, done = deque[Future[Arrays]](), list[Arrays]()
        for arrays in groups:
            if len(waiting) == GROUPS_AHEAD:
                done.append(request.life.result_of(waiting.popleft()))
            while True:
                try:
                    waiting.append(self.submit(arrays, request))
                    break
                except QueueFull:  # half of the request is done: it is kept, and waits until its deadline
                    request.life.check()
                    time.sleep(FULL_QUEUE_SECONDS)
        done += [request.life.result_of(each) for each in waiting]
        if not done:
            raise WrongInputs(f"no rows for the model {self.name}: the iterator of groups gives none")
        return {name: np.concatenate([each[name] for each in done]) for name in done[0]}

    def submit(self, arrays: Arrays, request: HasLifetime) -> Future[Arrays]:
        """Queue some rows and return their future at once, so that several models can work side by side.

        Raises BadInput, TooLarge, QueueFull, and what loading the model raises: ModelFailed, DeadlinePassed.
        """
        future = self._queued(request.life, lambda model: model.submit(arrays, request.life))
        future.add_done_callback(lambda _: self._cache.release(self._entry))
        return future

    def submit_with(self, arrays: Arrays, life: Lifetime, done: Callable[[Call], None]) -> None:
        """Queue some rows and have `done(call)` called on the batch thread, once the call has its outputs or its error.

        It raises what `submit` raises, and waits for the model to load as `submit` does.
        """
        self._queued(life, lambda model: model.enqueue(arrays, life, self._releasing(done)))

    def on_loop(self) -> Model | None:
        """Return the model where it is in memory and the loop may run its batches. It is never evicted then."""
        model = self._entry.model
        return None if model is None or model.loop_engine is None else model

    def submit_on_loop(self, arrays: Arrays, life: Lifetime, done: Callable[[Call], None]) -> bool:
        """Queue some rows from the loop's thread, and have `done(call)` called there in a later turn. It never waits.

        Return False, with nothing done, where the model is not in memory, or is being evicted or closed. Raises BadInput,
        TooLarge, QueueFull, NotReady.
        """
        entry = self._entry
        if not entry.on_demand:  # it is never evicted, so its uses need not be counted
            return entry.model is not None and self._queued_on_loop(entry.model, arrays, life, done)
        model = self._cache.acquire_loaded(entry)
        queued = False
        try:
            queued = model is not None and self._queued_on_loop(model, arrays, life, self._releasing(done))
        finally:
            if model is not None and not queued:
                self._cache.release(entry)
        return queued

    def _queued(self, life: Lifetime, queue: Callable[[Model], T]) -> T:
        """Count a use of the model, which is loaded first where it is not in memory, and queue a call of it."""
        while True:
            model = self._cache.acquire(self._entry, life)
            try:
                queued = queue(model)
                self._pending.forget(life)
                return queued
            except BaseException as error:
                self._cache.release(self._entry)
                # `unload` may have come between the two calls. A model that is closed for good is still the entry's.
                if not isinstance(error, NotReady) or self._entry.model is model:
                    raise

    def _queued_on_loop(self, model: Model, arrays: Arrays, life: Lifetime, done: Callable[[Call], None]) -> bool:
        """Queue a call and return True, or False where the model is being unloaded."""
        try:
            model.enqueue(arrays, life, done, on_loop=True)
        except NotReady:
            if self._entry.model is model:
                raise
            return False
        self._pending.forget(life)
        return True

    def _releasing(self, done: Callable[[Call], None]) -> Callable[[Call], None]:

        def release(call: Call) -> None:
            self._cache.release(self._entry)
            done(call)

        return release

    def spec(self, life: Lifetime) -> ModelSpec:
        """Return the model's tensors. The model is loaded first where it is not in memory.

        Raises ModelFailed, DeadlinePassed.
        """
        model = self._entry.model
        if model is None:
            model = self._cache.acquire(self._entry, life)
            self._cache.release(self._entry)
        return model.spec

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory now."""
        return self._entry.model is not None


class ModelRegistry:
    """Every model of the service. Options that a call leaves out come from value.py.

    observer: where the models report to. lazy: open each model when it is first used. `loop` is the one whose thread may call
    Handle.submit_on_loop. `clock` gives the seconds of the calls' times.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        observer: Observer,
        lazy: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._folder, self._observer, self._lazy, self._loop, self._clock = folder, observer, lazy, loop, clock
        self._pending = PendingRequests()
        self.batches_on_loop = False  # whether the loop may run batches of what is loaded from now on
        self._settings = settings
        self.options = options_of(settings)
        self._entries: dict[str, Entry] = {}
        self._cache = ModelCache(self._entries, size_in_bytes(settings.model_memory), on_demand_budget(settings))

    def load(self, name: str, path: str, **options: Any) -> Handle:
        """Load an ONNX file of the service's folder now, and keep it loaded. options: fields of Options. Raises StartError.

        On a GPU model_gpu_memory sets its share by its name. The model of model_path has the rest.
        """
        share = 0 if "hardware" in options else share_at_start(self._settings, name, self._folder / path)
        return self._open(self._file(name, path, options, share, self.batches_on_loop))

    def on_demand(self, name: str, path: str, *, gpu_memory: float = 0, **options: Any) -> Handle:
        """Name an ONNX file that is loaded on first use. Over model_memory the least recently used one is unloaded.

        gpu_memory: GiB of on_demand_gpu_memory that it takes while it is loaded, 0 for all of it. options: fields of Options.
        Raises StartError.
        """
        share = 0 if "hardware" in options else share_on_demand(self._settings, name, self._folder / path, gpu_memory)
        entry = self._file(name, path, options, share)
        entry.on_demand, entry.gpu_bytes = True, share
        return self._enter(entry)

    def add(
        self, name: str, run: Function, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], **options: Any
    ) -> Handle:
        """Make a model of a plain function from arrays to arrays. Its calls are batched like those to any model.

        options: fields of Options. Raises StartError.
        """
        chosen = dataclasses.replace(self.options, hardware=Hardware(threads=1), **options)
        opened = partial(from_function, name, inputs, outputs, run, chosen, self._observer, self._loop, self._clock)
        return self._open(Entry(name, opened, False, 0, chosen))

    def __getitem__(self, name: str) -> Handle:
        """Return the model of that name. Raises NotFound."""
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(f"no model {name!r} here; the models are {', '.join(self._entries) or 'none'}")
        return Handle(self._cache, entry, self._pending)

    def unload(self, name: str) -> None:
        """Finish a model's calls and return its memory to the system. Its next use loads it again. Raises NotFound."""
        self._cache.unload(self[name]._entry)

    def names(self) -> list[str]:
        """Return the names of all models, loaded or not."""
        return list(self._entries)

    def loaded(self) -> list[Model]:
        """Return the models that are in memory."""
        return [model for entry in list(self._entries.values()) if (model := entry.model) is not None]

    def expect(self, name: str, life: Lifetime) -> None:
        """Count an admitted request as one row that waits for the model of that name, until its rows are queued or `forget`.

        The name need not be a model's: the service's own route counts under service_name.
        """
        self._pending.add(name, life)

    def forget(self, life: Lifetime) -> None:
        """Count a request no more, since it has ended."""
        self._pending.forget(life)

    def waiting_rows(self, name: str | None = None) -> int:
        """Return the rows that wait for a model, or for all: those in its queue, and one for each pending request."""
        if name is None:
            return sum(map(self.waiting_rows, self.queue_names()))
        pending, model = self._pending.rows(name), self._in_memory(name)
        return pending if model is None else pending + model.batcher.waiting_rows()

    def has_waiting(self, name: str, least: int) -> bool:
        """Return whether at least `least` rows wait for a model, as `waiting_rows` counts them, at less cost."""
        pending, entry = self._pending.rows(name), self._entries.get(name)
        model = None if entry is None else entry.model
        return pending >= least or (model is not None and model.batcher.has_waiting(least - pending))

    def oldest_age(self, name: str | None = None) -> float:
        """Return the age of the oldest request that waits for a model, or for any, in seconds since its last byte, else 0."""
        if name is None:
            return max(map(self.oldest_age, self.queue_names()), default=0.0)
        oldest, model = self._pending.oldest(name), self._in_memory(name)
        pending = 0.0 if oldest is None else self._clock() - oldest
        return pending if model is None else max(pending, model.batcher.oldest_age())

    def queue_names(self) -> list[str]:
        """Return the names under which rows may wait: of loaded models, and those under which requests were ever pending."""
        return list(dict.fromkeys([*(model.spec.name for model in self.loaded()), *self._pending.names()]))

    def _in_memory(self, name: str) -> Model | None:
        entry = self._entries.get(name)
        return None if entry is None else entry.model

    def sources(self) -> list[ModelSource]:
        """Return the source of every model, loaded or not, in the order in which the service names them."""
        return [
            ModelSource(e.name, e.file, e.options, e.on_demand, partial(self._opened, e)) for e in list(self._entries.values())
        ]

    def replace(self, name: str, opened: Callable[[], Model]) -> None:
        """Open a model with another function from its next use on, so that its calls can be recorded. Raises NotFound."""
        self[name]._entry.open = opened
        self.unload(name)

    def _file(self, name: str, path: str, options: dict[str, Any], share: int, on_loop: bool = False) -> Entry:
        file = self._folder / path
        chosen = per_session(name, dataclasses.replace(self.options, **options), share)
        if not self._lazy:
            check_file(file)
        size = file.stat().st_size if file.is_file() else 0
        opened = partial(open_model, name, file, chosen, self._observer, self._loop, self._clock, on_loop)
        return Entry(name, opened, False, size, chosen, file)

    def _open(self, entry: Entry) -> Handle:
        """Enter a model and load it now. A model that fails is not entered, so that the service may try again."""
        handle = self._enter(entry)
        if self._lazy:
            return handle
        try:
            entry.model = entry.open()
        except BaseException:
            del self._entries[entry.name]
            raise
        return handle

    def _enter(self, entry: Entry) -> Handle:
        if entry.name in self._entries:
            raise StartError(f"two models are named {entry.name!r}; rename one")
        if not self._lazy:
            self._cache.check_budget(entry)
        self._entries[entry.name] = entry
        return Handle(self._cache, entry, self._pending)

    def _opened(self, entry: Entry) -> Model:
        self._cache.check_budget(entry)
        return entry.open()
