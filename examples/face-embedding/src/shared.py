"""Uses Redis as a cache that may be away: it is asked while it answers, and left alone while it does not.

Knows one Redis, time-outs and how to work without it. Does not know what the bytes mean. Never logs the address's password. It
is the only module that imports redis.

A request waits once for a Redis that has stopped answering: at most SECONDS to connect and SECONDS for an answer, unless the
address says otherwise. From then on only one thread asks it, every REST seconds, until it answers again. The client's time-outs
begin anew with each packet, and do not bound the look-up of a name. Commands therefore run on threads of their own, and no
request waits for one longer than WHOLE time-outs.

Concurrency. `_up` is read without the lock: a request that reads it a moment too late makes one more try. It changes under
`_lock`, so that each loss starts one thread, and that thread ends when it has set `_up` again. The client is a pool of
connections, safe on any thread. A loss closes all of them, which ends the commands for which no request waits any more.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from serving.api import StartError

log = logging.getLogger("face-embedding.redis")

SECONDS = 0.05  # to connect, and for each answer
MOST_SECONDS = 10.0  # the longest time-out that an address may set
WHOLE = 10  # time-outs that a whole command may take; enough that busy processors do not make Redis look lost
AT_ONCE = 64  # commands; further ones wait within their time
REST = 2.0  # seconds between two tries of a Redis that is away
LIVES = 7 * 24 * 3600  # seconds that a value is kept in Redis
T = TypeVar("T")


class Shared:
    """One Redis.

    url: redis://[user:password@]host:port/number, rediss:// or unix://, and the client's own parameters, such as
    ?socket_connect_timeout=0.2&socket_timeout=0.2 (seconds). most_bytes: of a value; longer ones are ignored.
    failed: called with the kind of each failure, which is unreachable, refused or corrupt.
    Raises StartError where the url is no such address.
    """

    def __init__(self, url: str, most_bytes: int, failed: Callable[[str], None]):
        self._client = _client(url)
        self._most_bytes, self._failed = most_bytes, failed
        self._threads = ThreadPoolExecutor(AT_ONCE, "redis")
        self._lock = threading.Lock()
        self._up = True
        known = self._client.connection_pool.connection_kwargs
        self._whole = WHOLE * max(_time_outs(self._client))
        self._place = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"
        self._ask(self._client.ping)

    @property
    def up(self) -> bool:
        return self._up

    def get(self, key: str) -> bytes | None:
        """Return the stored bytes, or None. Only a range is read, since a value of another program may have any size."""
        value = self._ask(lambda: self._client.getrange(key, 0, self._most_bytes))
        return bytes(value) if isinstance(value, bytes) and value else None

    def put(self, key: str, value: bytes) -> None:
        self._ask(lambda: self._client.set(key, value, ex=LIVES))

    def corrupt(self) -> None:
        self._failed("corrupt")

    def _ask(self, command: Callable[[], T]) -> T | None:
        if not self._up:
            return None
        try:
            return self._within(command)
        except ResponseError:  # Redis answers and refuses: it is full or read-only, or the key has another type
            self._failed("refused")
        except Exception as error:  # a broken server may make the client raise anything, and no request may fail by its cache
            self._failed("unreachable")
            self._lost(error)
        return None

    def _within(self, command: Callable[[], T]) -> T:
        """Return what the command returns. Raises what it raises, and TimeoutError after WHOLE time-outs."""
        asked = self._threads.submit(command)
        try:
            return asked.result(self._whole)
        finally:
            asked.cancel()

    def _lost(self, error: Exception) -> None:
        with self._lock:
            if not self._up:
                return
            self._up = False
        # Only the error's kind is logged: its text may hold the address's password.
        log.warning(
            "Redis at %s fails (%s): going on without it, trying again every %g s", self._place, type(error).__name__, REST
        )
        threading.Thread(target=self._wait, name="redis-wait", daemon=True).start()

    def _wait(self) -> None:
        """Try Redis every REST seconds until it answers."""
        while True:
            with contextlib.suppress(Exception):  # a command may be using a connection that is closed here
                self._client.connection_pool.disconnect()
            time.sleep(REST)
            try:
                self._within(self._client.ping)
            except Exception:
                continue
            with self._lock:
                self._up = True
            log.info("Redis at %s answers again", self._place)
            return


def _client(url: str) -> "Redis":
    try:
        client = Redis.from_url(
            url,
            socket_connect_timeout=SECONDS,
            socket_timeout=SECONDS,
            retry=Retry(NoBackoff(), 0),  # the client's default retries with growing pauses, which takes the request's time
            protocol=2,  # the newer protocol begins with a greeting, which costs a round trip
            driver_info=None,
        )
        client.connection_pool.make_connection()
        if all(0 < seconds <= MOST_SECONDS for seconds in _time_outs(client)):
            return client
    except Exception:
        pass
    raise StartError(
        "REDIS_URL (or redis_url in value.py's options) is no address of a Redis; it must be like redis://host:6379/0, "
        "redis://:password@host:6379/0, rediss://... or unix:///path, or empty for none; after it may come "
        f"?socket_connect_timeout={SECONDS}&socket_timeout={SECONDS}, in seconds above 0 and at most {MOST_SECONDS:g}"
    )


def _time_outs(client: "Redis") -> list[float]:
    """Return the time-outs in seconds, to connect and for an answer, from the address or else our own."""
    known = client.connection_pool.connection_kwargs
    return [known["socket_connect_timeout"], known["socket_timeout"]]
