"""The models of one service: by name, loaded at the start or on first use, unloaded over a memory budget.

Knows names, uses and memory. Does not know requests beyond their lifetime.

Concurrency. `_lock` guards the entries; `_changed` wakes those who wait for a load or for room. It is never held while a model
is loaded, closed or called, since a finished call takes it to count itself out. One thread loads at a time: what memory a
model takes can then be measured. A model that is in use (`uses` > 0) is never chosen to be unloaded; one that is never idle is
made to leave (`_evicting`): calls that it has are finished, new ones wait. Who sets `_evicting` is the thread that loads, which
takes it back whatever happens.
"""

import dataclasses
import gc
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from pathlib import Path
from typing import Any

from serving.base.errors import DeadlinePassed, ModelFailed, NotFound, NotReady, StartError
from serving.base.lifetime import HasLifetime, Lifetime
from serving.base.process_memory import resident_bytes, trim
from serving.models.engine import Hardware
from serving.models.entries import Entry, ModelSource
from serving.models.gpu_shares import GpuShares, per_session
from serving.models.model import Function, Model, check_file, from_function, open_model
from serving.models.observer import Observer
from serving.models.options import options_of
from serving.models.tensors import Arrays, ModelSpec, TensorSpec
from serving.settings import Settings, size_in_bytes

log = logging.getLogger("monopod.models")

CLOSE_SECONDS = 30.0
IDLE_SHARE = 0.25  # of the time that a request has left, in which it waits for a model to be idle; then one is made to leave


class Handle:
    """A model by its name, whether it is loaded now or will be on first use."""

    def __init__(self, models: "ModelRegistry", entry: Entry):
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


class ModelRegistry:
    """Every model of the service. Options not given are those of value.py. lazy: each is opened when it is first used."""

    def __init__(self, folder: Path, settings: Settings, observer: Observer, lazy: bool = False):
        self._folder, self._observer, self._lazy = folder, observer, lazy
        self._budget = size_in_bytes(settings.model_memory)
        self._shares = GpuShares(settings)
        self._budgets = "model_memory or on_demand_gpu_memory" if self._shares.budget else "model_memory"
        self.options = options_of(settings)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._entries: dict[str, Entry] = {}
        self._loading = False
        self._evicting: Entry | None = None

    def load(self, name: str, path: str, **options: Any) -> Handle:
        """Load an ONNX model of the service's folder now; it stays loaded. Raises StartError.

        On a GPU its share stands in model_gpu_memory by its name; model_path's model has what is left.
        """
        share = 0 if "hardware" in options else self._shares.at_start(name, self._folder / path)
        return self._open(self._file(name, path, options, share))

    def on_demand(self, name: str, path: str, *, gpu_memory: float = 0, **options: Any) -> Handle:
        """Name an ONNX model that is loaded on first use, and unloaded, least recently used first, over model_memory.

        gpu_memory: GiB that it takes of on_demand_gpu_memory while it is loaded; 0 is all of it. Raises StartError.
        """
        share = 0 if "hardware" in options else self._shares.on_demand(name, self._folder / path, gpu_memory)
        entry = self._file(name, path, options, share)
        entry.on_demand, entry.gpu_bytes = True, share
        return self._enter(entry)

    def add(
        self, name: str, run: Function, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], **options: Any
    ) -> Handle:
        """Make a plain function from arrays to arrays a model, batched like any other."""
        chosen = dataclasses.replace(self.options, hardware=Hardware(threads=1), **options)
        opened = partial(from_function, name, inputs, outputs, run, chosen, self._observer)
        return self._open(Entry(name, opened, False, 0, chosen))

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

    def waiting_rows(self) -> int:
        """Return the rows that wait for a batch, over all loaded models."""
        return sum(model.batcher.waiting_rows() for model in self.loaded())

    def oldest_age(self) -> float:
        """Return the age of the oldest waiting call over all loaded models, in seconds since its last byte, else 0."""
        return max((model.batcher.oldest_age() for model in self.loaded()), default=0.0)

    def sources(self) -> list[ModelSource]:
        """Return every model, loaded or not, in the order in which the service names them."""
        return [
            ModelSource(e.name, e.file, e.options, e.on_demand, partial(self._opened, e)) for e in list(self._entries.values())
        ]

    def replace(self, name: str, opened: Callable[[], Model]) -> None:
        """Have a model opened otherwise from its next use on, so that it can be listened to. Raises NotFound."""
        self[name]._entry.open = opened
        self.unload(name)

    def _file(self, name: str, path: str, options: dict[str, Any], share: int) -> Entry:
        file = self._folder / path
        chosen = per_session(name, dataclasses.replace(self.options, **options), share)
        if not self._lazy:
            check_file(file)
        size = file.stat().st_size if file.is_file() else 0
        return Entry(name, partial(open_model, name, file, chosen, self._observer), False, size, chosen, file)

    def _open(self, entry: Entry) -> Handle:
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

    def _enter(self, entry: Entry) -> Handle:
        if entry.name in self._entries:
            raise StartError(f"two models are named {entry.name!r}; name one otherwise")
        if not self._lazy:
            self._check_budget(entry)
        self._entries[entry.name] = entry
        return Handle(self, entry)

    def _check_budget(self, entry: Entry) -> None:
        if entry.on_demand and entry.bytes > self._budget:
            raise StartError(
                f"model {entry.name!r} has {entry.bytes} bytes, more than model_memory allows ({self._budget}); raise it"
            )

    def _opened(self, entry: Entry) -> Model:
        self._check_budget(entry)
        return entry.open()

    def _acquire(self, entry: Entry, life: Lifetime) -> Model:
        """Return the entry's model, counted as in use, loading it first if need be."""
        with self._lock:
            while (entry.model is None and self._loading) or entry is self._evicting:
                if not self._changed.wait(life.left()):
                    raise life.too_late()
            if entry.model is None:
                self._loading = True
            else:
                return self._count_use(entry, entry.model)
        try:
            model = self._load(entry, life)
        finally:
            with self._lock:
                self._loading = False
                self._changed.notify_all()
        return model

    def _count_use(self, entry: Entry, model: Model) -> Model:
        entry.uses += 1
        entry.last_used = time.monotonic()
        return model

    def _release(self, entry: Entry) -> None:
        with self._lock:
            entry.uses -= 1
            self._changed.notify_all()

    def _load(self, entry: Entry, life: Lifetime) -> Model:
        """Make room, load, and make room again once it is known what the model takes. Only one thread is ever here."""
        if not self._evict_for(entry, life.left):
            raise DeadlinePassed(
                f"no room for model {entry.name}: {self._budgets} is spent, and what is loaded was in use until the deadline; "
                "try again later, or raise it"
            )
        before = resident_bytes()
        try:
            model = entry.open()
        except Exception as error:
            log.exception("model %s cannot be loaded", entry.name)
            raise ModelFailed(f"model {entry.name} cannot be loaded; the log tells why") from error
        with self._lock:
            entry.bytes = max(entry.bytes, resident_bytes() - before)
            entry.model = model
            self._count_use(entry, model)
        self._evict_for(entry, lambda: 0.0)  # where there is none, it answers all the same, and the next load makes the room
        return model

    def _evict_for(self, entry: Entry, patience: Callable[[], float]) -> bool:
        """Unload the least recently used models until the entry fits beside the rest. Return whether it does.

        Waits for one that is in use as long as patience says, in seconds.
        """
        polite = (1 - IDLE_SHARE) * patience()  # while more than this is left
        try:
            while True:
                with self._lock:
                    others = self._evictable(entry)
                    if not others:
                        return True
                    idle = [each for each in others if each.uses == 0]
                    if not idle:
                        left = patience()
                        if left <= 0:
                            return False
                        self._evicting = min(others, key=_last_used) if left <= polite else None
                        self._changed.wait(left if left <= polite else left - polite)
                        continue
                    oldest = min(idle, key=_last_used)
                    model, oldest.model = oldest.model, None
                if model is not None:
                    _close(model)
        finally:
            with self._lock:
                self._evicting = None
                self._changed.notify_all()

    def _evictable(self, entry: Entry) -> list[Entry]:
        """Return the loaded models that may be unloaded, where one must be before the entry fits. The caller holds the lock."""
        others = [each for each in self._entries.values() if each.model is not None and each.on_demand and each is not entry]
        fits = entry.bytes + sum(each.bytes for each in others) <= self._budget
        fits_gpu = entry.gpu_bytes + sum(each.gpu_bytes for each in others) <= self._shares.budget
        return [] if fits and fits_gpu else others


def _last_used(entry: Entry) -> float:
    return entry.last_used


def _close(model: Model) -> None:
    model.close(CLOSE_SECONDS)
    del model
    gc.collect()
    trim()
    log.info("a model was unloaded; the process holds %d MB", resident_bytes() // 2**20)
