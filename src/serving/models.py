"""The models of one service: by name, loaded at the start or on first use, unloaded over a memory budget.

Knows names, uses and memory. Does not know requests beyond their lifetime.

Concurrency. `_lock` guards the entries; `_changed` wakes those who wait for a load or for room. It is never held while a model
is loaded, closed or called, since a finished call takes it to count itself out. One thread loads at a time: what memory a
model takes can then be measured. A model that is in use (`uses` > 0) is never chosen to be unloaded.
"""

import contextlib
import dataclasses
import gc
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from serving.engine import Hardware, StartError
from serving.errors import ModelFailed, NotFound, NotReady, QueueFull
from serving.lifetime import Lifetime
from serving.memory import resident_bytes, trim
from serving.model import Function, Model, Observer, Options, check_file, from_function, open_model
from serving.schema import Settings, size_in_bytes
from serving.tensors import Arrays, ModelSpec, TensorSpec

log = logging.getLogger("monopod.models")

CLOSE_SECONDS = 30.0


class HasLifetime(Protocol):
    """A request, as far as a model wants to know it."""

    @property
    def life(self) -> Lifetime: ...


@dataclass(frozen=True)
class Named:
    """A model as the service names it. file: None for a function. open: opens one more of it. Raises StartError."""

    name: str
    file: Path | None
    options: Options
    open: Callable[[], Model]


@dataclass(eq=False)
class _Entry:
    name: str
    open: Callable[[], Model]
    on_demand: bool
    bytes: int  # what it is known to take: the file's size until it was loaded once
    options: Options
    file: Path | None = None
    model: Model | None = None
    uses: int = 0
    last_used: float = 0.0


class Handle:
    """A model by its name, whether it is loaded now or will be on first use."""

    def __init__(self, models: "Models", entry: _Entry):
        self._models, self._entry, self.name = models, entry, entry.name

    def __call__(self, arrays: Arrays, request: HasLifetime) -> Arrays:
        """Run the model on some rows and wait for the outputs.

        Raises BadInput, TooLarge, QueueFull, ModelFailed, DeadlinePassed.
        """
        future = self.submit(arrays, request)
        try:
            return future.result(request.life.left())
        except FutureTimeout:
            raise request.life.too_late() from None

    def submit(self, arrays: Arrays, request: HasLifetime) -> Future[Arrays]:
        """Queue some rows and return at once, so that several models can work side by side."""
        while True:
            model = self._models._acquire(self._entry, request.life)
            try:
                future = model.submit(arrays, request.life)
                break
            except BaseException as error:
                self._models._release(self._entry)
                # `unload` may come between the two; a model that is closed for good is still the entry's.
                if not isinstance(error, NotReady) or self._entry.model is model:
                    raise
        future.add_done_callback(lambda _: self._models._release(self._entry))
        return future

    def spec(self, life: Lifetime) -> ModelSpec:
        """Return the model's tensors, loading it if it is not."""
        model = self._models._acquire(self._entry, life)
        self._models._release(self._entry)
        return model.spec

    @property
    def loaded(self) -> bool:
        return self._entry.model is not None


class Models:
    """Every model of the service. Options not given are those of value.py. lazy: each is opened when it is first used."""

    def __init__(self, folder: Path, settings: Settings, observer: Observer, lazy: bool = False):
        self._folder, self._observer, self._lazy = folder, observer, lazy
        self._budget = size_in_bytes(settings.model_memory)
        self.options = options_of(settings)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._entries: dict[str, _Entry] = {}
        self._loading = False

    def load(self, name: str, path: str, **options: Any) -> Handle:
        """Load an ONNX model of the service's folder now; it stays loaded. Raises StartError."""
        return self._open(self._file(name, path, options, on_demand=False))

    def on_demand(self, name: str, path: str, **options: Any) -> Handle:
        """Name an ONNX model that is loaded on first use, and unloaded, least recently used first, over model_memory."""
        return self._enter(self._file(name, path, options, on_demand=True))

    def add(
        self, name: str, run: Function, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], **options: Any
    ) -> Handle:
        """Make a plain function from arrays to arrays a model, batched like any other."""
        chosen = dataclasses.replace(self.options, hardware=Hardware(threads=1), **options)
        opened = partial(from_function, name, inputs, outputs, run, chosen, self._observer)
        return self._open(_Entry(name, opened, False, 0, chosen))

    def __getitem__(self, name: str) -> Handle:
        """Return the model of that name. Raises NotFound."""
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(f"no model {name!r} here; the models are {', '.join(self._entries) or 'none'}")
        return Handle(self, entry)

    def unload(self, name: str) -> None:
        """Finish a model's calls and give its memory back. It is loaded again on its next use."""
        entry = self[name]._entry
        with self._lock:
            model, entry.model = entry.model, None
        if model is not None:
            _close(model)
            with self._lock:
                self._changed.notify_all()  # there is room

    def names(self) -> list[str]:
        return list(self._entries)

    def loaded(self) -> list[Model]:
        """Return the models that are in memory."""
        return [model for entry in list(self._entries.values()) if (model := entry.model) is not None]

    def named(self) -> list[Named]:
        """Return every model, loaded or not, in the order in which the service names them."""
        return [Named(e.name, e.file, e.options, partial(self._opened, e)) for e in list(self._entries.values())]

    def replace(self, name: str, opened: Callable[[], Model]) -> None:
        """Have a model opened otherwise from its next use on, so that it can be listened to. Raises NotFound."""
        self[name]._entry.open = opened
        self.unload(name)

    def _file(self, name: str, path: str, options: dict[str, Any], *, on_demand: bool) -> _Entry:
        file = self._folder / path
        chosen = dataclasses.replace(self.options, **options)
        if not self._lazy:
            check_file(file)
        size = file.stat().st_size if file.is_file() else 0
        return _Entry(name, partial(open_model, name, file, chosen, self._observer), on_demand, size, chosen, file)

    def _open(self, entry: _Entry) -> Handle:
        """Enter a model and load it now. One that fails is not entered, so that it may be tried again."""
        handle = self._enter(entry)
        if self._lazy:
            return handle
        try:
            entry.model = entry.open()
        except BaseException:
            del self._entries[entry.name]
            raise
        return handle

    def _enter(self, entry: _Entry) -> Handle:
        if entry.name in self._entries:
            raise StartError(f"two models are named {entry.name!r}; name one otherwise")
        if not self._lazy:
            self._check_budget(entry)
        self._entries[entry.name] = entry
        return Handle(self, entry)

    def _check_budget(self, entry: _Entry) -> None:
        if entry.on_demand and entry.bytes > self._budget:
            raise StartError(
                f"model {entry.name!r} has {entry.bytes} bytes, more than model_memory allows ({self._budget}); raise it"
            )

    def _opened(self, entry: _Entry) -> Model:
        self._check_budget(entry)
        return entry.open()

    def _acquire(self, entry: _Entry, life: Lifetime) -> Model:
        """Return the entry's model, counted as in use, loading it first if need be."""
        with self._lock:
            while entry.model is None and self._loading:
                if not self._changed.wait(life.left()):
                    raise life.too_late()
            if entry.model is None:
                self._loading = True
            else:
                return self._count_in(entry, entry.model)
        try:
            model = self._load(entry, life)
        finally:
            with self._lock:
                self._loading = False
                self._changed.notify_all()
        return model

    def _count_in(self, entry: _Entry, model: Model) -> Model:
        entry.uses += 1
        entry.last_used = time.monotonic()
        return model

    def _release(self, entry: _Entry) -> None:
        with self._lock:
            entry.uses -= 1
            self._changed.notify_all()

    def _load(self, entry: _Entry, life: Lifetime) -> Model:
        """Make room, load, and make room again once it is known what the model takes. Only one thread is ever here."""
        self._make_room(entry, life.left)
        before = resident_bytes()
        try:
            model = entry.open()
        except Exception as error:
            log.exception("model %s cannot be loaded", entry.name)
            raise ModelFailed(f"model {entry.name} cannot be loaded; the log tells why") from error
        with self._lock:
            entry.bytes = max(entry.bytes, resident_bytes() - before)
            entry.model = model
            self._count_in(entry, model)
        with contextlib.suppress(QueueFull):  # it is loaded, and answers; the next load makes the room
            self._make_room(entry, lambda: 0.0)
        return model

    def _make_room(self, entry: _Entry, patience: Callable[[], float]) -> None:
        """Unload the least recently used models until the entry fits beside the rest.

        Waits for one that is in use as long as patience says, in seconds; raises QueueFull then.
        """
        while True:
            with self._lock:
                others = [e for e in self._entries.values() if e.model is not None and e.on_demand and e is not entry]
                if not others or entry.bytes + sum(e.bytes for e in others) <= self._budget:
                    return
                free = [e for e in others if e.uses == 0]
                if not free:
                    if not self._changed.wait(patience()):
                        raise QueueFull("every loaded model is in use and model_memory is spent; try again later, or raise it")
                    continue
                oldest = min(free, key=lambda e: e.last_used)
                model, oldest.model = oldest.model, None
            if model is not None:
                _close(model)


def options_of(settings: Settings) -> Options:
    """Return how value.py wants models to be run."""
    gpu = bool(settings.gpu_memory or settings.gpu_num)
    provider = ("cuda" if gpu else "cpu") if settings.provider == "auto" else settings.provider
    threads = max(1, math.floor(settings.cpu / settings.ins_num_per_gpu)) if provider == "cpu" else 1
    gpu_bytes = int(settings.gpu_memory * 2**30 / settings.ins_num_per_gpu)
    return Options(
        hardware=Hardware(provider, threads, gpu_bytes, settings.fp16),
        instances=settings.ins_num_per_gpu,
        max_batch_size=settings.max_batch_size,
        max_queue_delay=settings.max_queue_delay_ms / 1000,
        queue_limit=settings.queue_limit,
        max_rows_per_request=settings.max_rows_per_request,
        warmup_shapes=settings.warmup_shapes,
    )


def _close(model: Model) -> None:
    model.close(CLOSE_SECONDS)
    del model
    gc.collect()
    trim()
    log.info("a model was unloaded; the process holds %d MB", resident_bytes() // 2**20)
