"""Results by what was asked: computed once, kept in the process and in a store that pods share.

Knows keys, one value each, and who computes it. Does not know what the values mean, nor which store it is.

Concurrency. `_lock` guards the kept values and the flights, and is held for a few instructions, never while anything is
computed or a store is asked. For each key that is asked for and not kept there is one flight: the request that began it leads,
the others wait for it, each until its own deadline.

A leader always ends its flight, whatever happens to it, since that stands in `finally`; and it ends in time, since all that it
waits for (slots, models, the store) is bounded by its own deadline or a time-out. How it ends decides what the followers do:
- with a value: it is theirs too.
- with an error that is the photo's own (BadInput, TooLarge): theirs too, in an exception of their own.
- with any other error (its client went away, its deadline passed, a queue was full, a model failed): that was the leader's
  luck and says nothing of theirs. They begin again, and the first of them that still has a client and time leads.
A thread never leads one flight while it waits for another, so no two wait for each other.
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
    """A cache that pods share. Neither call raises, nor takes long."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...

    def corrupt(self) -> None:
        """Be told that what `get` gave was not what anybody had put."""


class _Flight(Generic[V]):
    """One value on its way. value and error are written by the leader before `ended` is set, and read after."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.value: V | None = None
        self.error: tuple[type[BadInput | TooLarge], str] | None = None  # no exception: it would hold the leader's photo


class Cache(Generic[V]):
    """Keeps values, least recently used ones out first, up to `most_bytes` of the process.

    size_of: a value's bytes in memory. pack and unpack: to and from a store's bytes; unpack gives None for any others.
    hit is told where each value came from: process, redis or flight. missed is told of each that had to be computed.
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
        """Return the key's value, from wherever it is to be had soonest.

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
            with self._lock, contextlib.suppress(ValueError):  # larger than the whole cache
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
    """Return what tells results of these files (weights, code) from results of others: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def key_of(name: str, version: str, file: bytes) -> str:
    """Return a file's key: whose result it is, by which version, of which bytes."""
    return f"{name}:{version}:{hashlib.sha256(file).hexdigest()}"
