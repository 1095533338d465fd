"""Keeps the results of a service's `handle`, and computes equal requests that come at once a single time.

Concurrency. `_lock` guards the kept values, the flights and who waits for them. It is held for a few instructions, never while
a result is computed or Redis is asked. A key that is being computed has one flight, and the request that began it leads. Each
further one waits on an event of its own, until its own deadline. The end of the flight sets it, and so does a client that goes.
A leader ends its flight in `finally`. After results, or a mistake of the input itself, the others answer with the same. Results
that cannot be kept make them compute side by side. After any other error (a client that went, a deadline, a full queue, a model
that failed) they begin again, and the first of them leads. A leader that is still at work at its deadline loses its flight to
those who wait. A leader waits for no flight, since `handle` does not call `cached`, so no two threads wait for each other.
"""

import hashlib
import marshal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cached_property, partial, update_wrapper
from typing import TYPE_CHECKING, Any

from serving.base import json_codec
from serving.base.errors import BadInput, ServingError, TooLarge
from serving.base.lifetime import Lifetime
from serving.inputs.payload import IDS
from serving.service.request import Request
from serving.service.service import Answer, Service, handles_itself
from serving.settings import size_in_bytes
from serving.settings.model_files import sha256_of

if TYPE_CHECKING:
    from serving.core.redis_store import RedisStore

OBJECT_BYTES = 500  # of one entry beside its value: key, table, objects


class _Flight:
    """Results that are being computed. The leader writes value, error or alone before it ends the flight."""

    def __init__(self, life: Lifetime) -> None:
        self.life = life  # of the leader
        self.waiting: list[threading.Event] = []
        self.value: bytes | None = None
        self.error: tuple[type[ServingError], str] | None = None  # an exception object would hold the leader's body
        self.alone = False  # whether each request computes its own, since these cannot be kept


class ResultCache:
    """Results, up to cache_memory of them. The least recently used go first. store: shared by all pods, or None."""

    def __init__(self, service: Service, store: "RedisStore | None" = None):
        settings, metrics = service.settings, service.metrics
        self._service, self._store = service, store
        self._seconds, self._max_bytes = settings.cache_second, size_in_bytes(settings.cache_memory)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()  # when it was computed, and the value
        self._kept_bytes = 0
        self._flights: dict[str, _Flight] = {}
        self._misses = metrics.listed_counter("monopod_cache_misses_total")
        hits = metrics.listed_counter("monopod_cache_hits_total")
        self._hits = {place: hits.labels(place) for place in ("process", "redis", "flight")}
        # Mistakes in results name the hook that returned them.
        hook = service.handle if handles_itself(service) else service.postprocess
        self.handle: Callable[[Request], Any] = update_wrapper(partial(self._results), hook)
        service.cached_handle = self.handle

    @cached_property
    def version(self) -> str:
        """A digest of all that results depend on beside the request: model/, src/ and the settings, as hexadecimal digits."""
        digest = hashlib.sha256(repr(self._service.settings).encode())
        for path in sorted(each for top in ("model", "src") for each in (self._service.folder / top).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(self._service.folder)} {sha256_of(path)}\n".encode())
        return digest.hexdigest()

    def prepare(self) -> None:
        """Read the files and ask Redis once, before the first request comes."""
        if self.version and self._store:
            self._store.ping()

    def _results(self, request: Request) -> Any:
        """Return what `handle` returns for a request or has returned for an equal one, JSON as a Fragment.

        Raises what `handle` raises, DeadlinePassed, ClientGone.
        """
        key, woken = self._key(request), threading.Event()
        request.life.on_abandon(woken.set)
        while True:
            woken.clear()  # before the check, so that no client is missed that goes after it
            request.life.check()
            with self._lock:
                kept, flight = self._find(key), self._flights.get(key)
                if kept is None and flight is None:
                    mine = self._flights[key] = _Flight(request.life)
                elif flight is not None:
                    flight.waiting.append(woken)
            if kept is not None:
                self._hits["process"].inc()
                return _opened(kept)
            if flight is None:
                return self._lead(key, mine, request)
            ended = woken.wait(min(request.life.left(), flight.life.left()))
            request.life.check()
            if not ended:  # the leader is late
                self._end(key, flight)
            if flight.error is not None:
                raise flight.error[0](flight.error[1])
            if flight.value is not None:
                self._hits["flight"].inc()
                return _opened(flight.value)
            if flight.alone:
                return self._service.handle(request)

    def _lead(self, key: str, flight: _Flight, request: Request) -> Any:
        try:
            found = self._store.get(key) if self._store else None
            new = found is None or found[0] + self._seconds < time.time()
            if found is None or new:
                self._misses.inc()
                results = self._service.handle(request)
                value = _packed(results)
                if value is None:
                    flight.alone = True
                    return results
                found = time.time(), value
            else:
                self._hits["redis"].inc()
            flight.value = found[1]
            self._keep(key, *found)
            self._end(key, flight)  # others need not wait for Redis
            if new and self._store and _size(found[1]) <= self._max_bytes:
                self._store.put(key, *found)
            return _opened(found[1])
        except (BadInput, TooLarge) as error:
            if type(error) in (BadInput, TooLarge):  # their subclasses may be of this one request's time
                flight.error = type(error), str(error)
            raise
        finally:
            self._end(key, flight)

    def _end(self, key: str, flight: _Flight) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            waiting, flight.waiting = flight.waiting, []
        for woken in waiting:
            woken.set()

    def _key(self, request: Request) -> str:
        files = {
            name: [(file.name, file.type, hashlib.sha256(file.bytes).digest()) for file in request.files(name)]
            for name in sorted(request.payload.files)
        }
        query = {name: request.query[name] for name in sorted(request.query) if name not in IDS}
        state = self.version, sorted(self._service.watched_states.items()), files, request.data, dict(request.fields), query
        # Form 2 writes equal values as equal bytes, tells 1 from 1.0 and takes any text; JSON would refuse half of a surrogate.
        digest = hashlib.sha256(marshal.dumps(state, 2)).hexdigest()
        return f"monopod:{self._service.settings.username}:{self._service.settings.service_name}:{digest}"

    def _find(self, key: str) -> bytes | None:
        """Return a kept value. The caller holds the lock."""
        computed, value = self._kept.get(key, (0.0, b""))
        if computed + self._seconds < time.time():
            return None
        self._kept.move_to_end(key)
        return value

    def _keep(self, key: str, computed: float, value: bytes) -> None:
        if _size(value) > self._max_bytes:
            return
        with self._lock:
            _, old = self._kept.pop(key, (0.0, None))
            self._kept[key] = computed, value
            self._kept_bytes += _size(value) - (0 if old is None else _size(old))
            while self._kept_bytes > self._max_bytes:
                self._kept_bytes -= _size(self._kept.popitem(last=False)[1][1])


def _size(value: bytes) -> int:
    return len(value) + OBJECT_BYTES


def _packed(results: Any) -> bytes | None:
    """Return results as bytes, their content type before the first line feed; None for those that cannot be sent again."""
    if isinstance(results, Answer):
        plain = results.status == 200 and not isinstance(results.body, Iterator)
        return results.content_type.encode() + b"\n" + bytes(results.body) if plain else None
    try:
        return None if isinstance(results, Iterator) else b"\n" + json_codec.dumps(results)
    except TypeError:
        return None  # told where the answer is made


def _opened(value: bytes) -> Any:
    content_type, _, body = value.partition(b"\n")
    return Answer(body, content_type.decode()) if content_type else json_codec.Fragment(body)
