"""The models in memory: loaded on first use, and over a budget the least recently used one is unloaded.

Concurrency. `_lock` guards the entries' models and uses; `_changed` wakes threads that wait for a load or for memory. The lock
is never held while a model is loaded, closed or called, since a finished call takes it to release its model. One thread loads
at a time, so that the memory which a model takes can be measured. A model in use (`uses` > 0) is never unloaded. A model that
is never idle becomes `_evicting`: its calls are finished, and new ones wait. Only the loading thread sets `_evicting`, and it
always resets it.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.base.errors import DeadlinePassed, ModelFailed, StartError
from serving.base.lifetime import Lifetime
from serving.base.process import resident_bytes, trim
from serving.models.model import Model
from serving.models.options import Options

log = logging.getLogger("monopod.models")

CLOSE_SECONDS = 30.0
IDLE_SHARE = 0.25  # of a request's remaining time, in which it waits for an idle model; then new calls of one model wait


@dataclass(frozen=True)
class ModelSource:
    """A model as the service names it. file: None for a function. open: opens another copy, and raises StartError."""

    name: str
    file: Path | None
    options: Options
    on_demand: bool
    open: Callable[[], Model]


@dataclass(eq=False)
class Entry:
    """One model of a service, loaded or not. ModelCache says which threads may change it."""

    name: str
    open: Callable[[], Model]
    on_demand: bool
    bytes: int  # of memory: the file's size until the model is loaded, then a measurement
    options: Options
    file: Path | None = None
    gpu_bytes: int = 0  # of on_demand_gpu_memory, while it is loaded
    model: Model | None = None  # None while it is not in memory
    uses: int = 0  # calls in progress
    last_used: float = 0.0  # seconds of time.monotonic()


class ModelCache:
    """Loads and unloads the models of some entries.

    entries: every model of the service by its name, to which the registry adds. memory and gpu_memory: bytes for all models
    that are loaded on first use.
    """

    def __init__(self, entries: Mapping[str, Entry], memory: int, gpu_memory: int):
        self._entries, self._memory, self._gpu_memory = entries, memory, gpu_memory
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._loading = False
        self._evicting: Entry | None = None

    def check_budget(self, entry: Entry) -> None:
        """Raise StartError where a model that is loaded on first use is larger than the memory of all of them."""
        if entry.on_demand and entry.bytes > self._memory:
            raise StartError(
                f"model {entry.name!r} has {entry.bytes} bytes, more than model_memory allows ({self._memory}); raise it"
            )

    def acquire(self, entry: Entry, life: Lifetime) -> Model:
        """Return the entry's model, counted as in use. It is loaded first where it is not in memory.

        Raises DeadlinePassed where there is no memory for it in time, ModelFailed where it cannot be loaded.
        """
        with self._lock:
            while (entry.model is None and self._loading) or entry is self._evicting:
                if not self._changed.wait(life.left()):
                    raise life.too_late()
            if entry.model is not None:
                return _use(entry, entry.model)
            self._loading = True
        try:
            return self._load(entry, life)
        finally:
            with self._lock:
                self._loading = False
                self._changed.notify_all()

    def acquire_loaded(self, entry: Entry) -> Model | None:
        """Return the entry's model without waiting, counted as in use. None where it is not in memory or is being evicted."""
        with self._lock:
            return None if entry.model is None or entry is self._evicting else _use(entry, entry.model)

    def release(self, entry: Entry) -> None:
        with self._lock:
            entry.uses -= 1
            self._changed.notify_all()

    def unload(self, entry: Entry) -> None:
        """Finish a model's calls and return its memory to the system."""
        with self._lock:
            model, entry.model = entry.model, None
        if model is not None:
            _close(model)
            with self._lock:
                self._changed.notify_all()

    def _load(self, entry: Entry, life: Lifetime) -> Model:
        """Evict models, load this one, and evict again once its memory is known. Only the loading thread runs this."""
        if not self._evict_for(entry, life.left):
            budgets = "model_memory or on_demand_gpu_memory" if self._gpu_memory else "model_memory"
            raise DeadlinePassed(
                f"no room for model {entry.name}: {budgets} is spent, and what is loaded was in use until the deadline; "
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
            _use(entry, model)
        self._evict_for(entry, lambda: 0.0)  # where nothing can be evicted now, the model still answers; the next load evicts
        return model

    def _evict_for(self, entry: Entry, left: Callable[[], float]) -> bool:
        """Unload the least recently used models until the entry fits beside the others. Return whether it fits.

        left: the time for which a model in use may be waited for, in seconds.
        """
        hold_below = (1 - IDLE_SHARE) * left()  # with no more time left than this, new calls of one model wait
        try:
            while True:
                with self._lock:
                    others = self._evictable(entry)
                    if not others:
                        return True
                    idle = [each for each in others if each.uses == 0]
                    if not idle:
                        remaining = left()
                        if remaining <= 0:
                            return False
                        hold = remaining <= hold_below
                        self._evicting = min(others, key=_last_used) if hold else None
                        self._changed.wait(remaining if hold else remaining - hold_below)
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
        """Return the loaded models that may be unloaded, or none where the entry fits already. The caller holds the lock."""
        others = [each for each in self._entries.values() if each.model is not None and each.on_demand and each is not entry]
        fits = entry.bytes + sum(each.bytes for each in others) <= self._memory
        fits_gpu = entry.gpu_bytes + sum(each.gpu_bytes for each in others) <= self._gpu_memory
        return [] if fits and fits_gpu else others


def _use(entry: Entry, model: Model) -> Model:
    """Count one use more. The caller holds the lock."""
    entry.uses += 1
    entry.last_used = time.monotonic()
    return model


def _last_used(entry: Entry) -> float:
    return entry.last_used


def _close(model: Model) -> None:
    model.close(CLOSE_SECONDS)
    del model
    gc.collect()
    trim()
    log.info("a model was unloaded; the process holds %d MB", resident_bytes() // 2**20)
