"""Keeps bytes in a Redis that pods share, and does without it while it is away. The only module that imports redis.

The address may hold a password, and is never logged.

A request waits once for a Redis that has stopped answering: at most SECONDS to connect and SECONDS for an answer, unless the
address says otherwise. From then on one thread alone asks it, every REST seconds, until it answers. The client's time-outs
begin anew with each packet, and do not bound the look-up of a name. So commands run on threads of their own, and no request
waits for one longer than WHOLE time-outs.

Concurrency. `up` is read without the lock: a request that reads it a moment too late makes one more try. It becomes False
under `_lock`, so each loss starts one thread, and that thread ends by making it True. The client is a pool of connections, safe
on any thread. A loss closes them all, which ends the commands for which no request waits any more.
"""

import contextlib
import logging
import struct
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from serving.base.errors import StartError
from serving.telemetry.metrics import Metrics

log = logging.getLogger("monopod.cache")

SECONDS, MAX_SECONDS = 0.05, 10.0  # to connect, and for each answer; the longest that an address may set
WHOLE = 10  # time-outs that a whole command may take; enough that busy processors do not make Redis look lost
AT_ONCE = 64  # commands; further ones wait within their time
REST = 2.0  # seconds between two tries of a Redis that is away
HEAD = struct.Struct("<4sId")  # MAGIC, a CRC-32 of the key and the rest, when the value was computed in seconds since 1970
MAGIC = b"MPR1"


class RedisStore:
    """One Redis. url: redis://[user:password@]host:port/number, rediss:// or unix://, and the client's own parameters.

    max_bytes: of a value; a longer one is ignored. seconds: that a value is kept. Raises StartError for another url.
    """

    def __init__(self, url: str, max_bytes: int, seconds: int, metrics: Metrics):
        self._client = _client(url)
        self._max_bytes, self._seconds = max_bytes, seconds
        self._errors = metrics.listed_counter("monopod_cache_errors_total")
        for kind in ("unreachable", "refused", "corrupt"):
            self._errors.labels(kind)
        metrics.show("monopod_cache_redis_up", lambda: {(): float(self.up)})
        self._threads, self._lock, self.up = ThreadPoolExecutor(AT_ONCE, "redis"), threading.Lock(), True
        known = self._client.connection_pool.connection_kwargs
        self._whole = WHOLE * max(_time_outs(self._client))
        self._place = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"

    def ping(self) -> None:
        """Find out whether Redis answers."""
        self._ask(self._client.ping)

    def get(self, key: str) -> tuple[float, bytes] | None:
        """Return when a value was computed, in seconds since 1970, and its bytes; None where `put` has written none.

        Only a range is read, since another program's value may have any size.
        """
        data = self._ask(lambda: self._client.getrange(key, 0, HEAD.size + self._max_bytes))
        if not data:
            return None
        if HEAD.size <= len(data) <= HEAD.size + self._max_bytes:
            magic, checksum, computed = HEAD.unpack_from(data)
            value = bytes(data[HEAD.size :])
            if (magic, checksum) == (MAGIC, _checksum(key, computed, value)):
                return computed, value
        self._errors.labels("corrupt").inc()
        return None

    def put(self, key: str, computed: float, value: bytes) -> None:
        data = HEAD.pack(MAGIC, _checksum(key, computed, value), computed) + value
        self._ask(lambda: self._client.set(key, data, ex=self._seconds))

    def _ask(self, command: Callable[[], Any]) -> Any:
        if not self.up:
            return None
        try:
            return self._within(command)
        except ResponseError:  # Redis answers and refuses: it is full or read-only, or the key has another type
            self._errors.labels("refused").inc()
        except Exception as error:  # a broken server may make the client raise anything, and no request may fail by its cache
            self._errors.labels("unreachable").inc()
            self._lost(type(error).__name__)
        return None

    def _within(self, command: Callable[[], Any]) -> Any:
        """Return what the command returns. Raises what it raises, and TimeoutError after WHOLE time-outs."""
        asked = self._threads.submit(command)
        try:
            return asked.result(self._whole)
        finally:
            asked.cancel()

    def _lost(self, kind: str) -> None:
        """Leave Redis alone until it answers. kind: of the error, whose text may hold the address's password."""
        with self._lock:
            if not self.up:
                return
            self.up = False
        log.warning("Redis at %s fails (%s): going on without it, trying again every %g s", self._place, kind, REST)
        threading.Thread(target=self._wait, name="redis-wait", daemon=True).start()

    def _wait(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # a command may be using a connection that is closed here
                self._client.connection_pool.disconnect()
            time.sleep(REST)
            try:
                self._within(self._client.ping)
            except Exception:
                continue
            log.info("Redis at %s answers again", self._place)
            self.up = True  # the last step, since a new loss starts another thread
            return


def _checksum(key: str, computed: float, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(struct.pack("<d", computed), zlib.crc32(key.encode())))


def _client(url: str) -> "Redis":
    with contextlib.suppress(Exception):
        client = Redis.from_url(
            url,
            socket_connect_timeout=SECONDS,
            socket_timeout=SECONDS,
            retry=Retry(NoBackoff(), 0),  # the client's default retries with growing pauses, which takes the request's time
            protocol=2,  # the newer protocol begins with a greeting, which costs a round trip
            driver_info=None,
        )
        client.connection_pool.make_connection()
        if all(0 < seconds <= MAX_SECONDS for seconds in _time_outs(client)):
            return client
    raise StartError(
        'value.py: cache is "redis", and the environment\'s REDIS_URL is missing or no address of a Redis; it must be like '
        "redis://host:6379/0, redis://:password@host:6379/0, rediss://... or unix:///path; after it may come "
        f"?socket_connect_timeout={SECONDS}&socket_timeout={SECONDS}, in seconds above 0 and at most {MAX_SECONDS:g}. On a "
        "laptop export it in the shell; in a cluster the Secret that env_secret names has it"
    )


def _time_outs(client: "Redis") -> list[float]:
    known = client.connection_pool.connection_kwargs
    return [known["socket_connect_timeout"], known["socket_timeout"]]
