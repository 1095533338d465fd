"""Caches results: each key's value is computed once, and kept in the process and in a store that pods share.

Knows keys, their values, and which request computes a value. Does not know what the values mean, nor which store it is.

Concurrency. `_lock` guards the kept values and the flights. It is held for a few instructions, never while a value is computed
or the store is asked. Each requested key that is not kept has one flight. The request that began it is its leader. Each further
request is a follower, and waits for the leader until its own deadline.

A leader ends its flight in `finally`, so it always ends. It ends in time, since its own deadline or a time-out bounds each of
its waits (for slots, models and the store). The leader's end decides what the followers do.
- After a value, they return the same value.
- After an error of the photo itself (BadInput, TooLarge), they raise the same error, each in an exception of its own.
- After any other error, they begin again, and the first of them that still has a client and time leads. Such an error says
  nothing about them: the leader's client went away, its deadline passed, a queue was full, or a model failed.
A thread never leads one flight while it waits for another, so no two threads wait for each other.
"""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from cachetools import LRUCache

from serving.api import BadInput, Lifetime, TooLarge

V = TypeVar("V")


class Store(Protocol):
    """A cache that pods share. Its calls do not raise, and take a bounded time."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...

    def corrupt(self) -> None:
        """Count a value from `get` that no `put` has written."""


class _Flight(Generic[V]):
    """One value that is being computed. The leader writes value or error before it sets `ended`; followers read them after."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.value: V | None = None
        self.error: tuple[type[BadInput | TooLarge], str] | None = None  # an exception object would hold the leader's photo


class Cache(Generic[V]):
    """Keeps up to `most_bytes` of values in the process, and drops the least recently used first.

    size_of: returns the bytes of memory of a value. pack: makes the store's bytes of a value. unpack: makes a value of the
    store's bytes, or None of any others.

    hit: called with the origin of each value that was not computed (process, redis or flight).
    missed: called for each value that was computed.
    """

    def __init__(
        self,
        most_bytes: int,
        size_of: Callable[[V], int],
        store: Store | None,
        pack: Callable[[V], bytes],
        unpack: Callable[[bytes], V | None],
        hit: Callable[[str], None],
        missed: Callable[[], None],
    ):
        self._store, self._pack, self._unpack, self._hit, self._missed = store, pack, unpack, hit, missed
        self._lock = threading.Lock()
        self._kept: LRUCache[str, V] = LRUCache(most_bytes, size_of)
        self._flights: dict[str, _Flight[V]] = {}

    def get(self, key: str, life: Lifetime, compute: Callable[[], V]) -> V:
        """Return the key's value, computed only if it is neither kept nor being computed.

        Raises what compute raises, DeadlinePassed, ClientGone.
        """
        while True:
            life.check()
            with self._lock:
                kept = self._kept.get(key)
                flight = self._flights.get(key)
                if kept is None and flight is None:
                    mine = self._flights[key] = _Flight[V]()
            if kept is not None:
                self._hit("process")
                return kept
            if flight is None:
                return self._lead(key, mine, compute)
            if not flight.ended.wait(life.left()):
                raise life.too_late()
            if flight.error is not None:
                kind, text = flight.error
                raise kind(text)
            if flight.value is not None:
                self._hit("flight")
                return flight.value

    def _lead(self, key: str, flight: _Flight[V], compute: Callable[[], V]) -> V:
        try:
            flight.value = value = self._fetch(key, compute)
            with self._lock, contextlib.suppress(ValueError):  # a value larger than the whole cache is not kept
                self._kept[key] = value
            return value
        except (BadInput, TooLarge) as error:
            flight.error = type(error), str(error)
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.ended.set()

    def _fetch(self, key: str, compute: Callable[[], V]) -> V:
        found = self._stored(key)
        if found is not None:
            self._hit("redis")
            return found
        self._missed()
        value = compute()
        if self._store is not None:
            self._store.put(key, self._pack(value))
        return value

    def _stored(self, key: str) -> V | None:
        data = self._store.get(key) if self._store is not None else None
        if data is None or self._store is None:
            return None
        value = self._unpack(data)
        if value is None:
            self._store.corrupt()
        return value


def version_of(files: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits that identify the content of these files (weights and code)."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def key_of(name: str, version: str, file: bytes) -> str:
    """Return the key of a result. name: of the service. version: of its models and code. file: the bytes that were sent."""
    return f"{name}:{version}:{hashlib.sha256(file).hexdigest()}"
