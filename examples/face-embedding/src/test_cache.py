"""The cache: single computation, followers whose leader fails, and a store that is not trusted."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cache import Cache, key_of, version_of

from serving.api import BadInput, ClientGone, DeadlinePassed, Lifetime, ModelFailed


class Table:
    """A store in memory."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.corrupted = 0

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.values[key] = value

    def corrupt(self) -> None:
        self.corrupted += 1


class CountedCache:
    """A cache of texts that counts hits and misses."""

    def __init__(self, most_bytes: int = 1000, store: Table | None = None):
        self.hits: list[str] = []
        self.misses = 0
        self.cache: Cache[str] = Cache(most_bytes, len, store, str.encode, self.unpack, self.hits.append, self.missed)

    def missed(self) -> None:
        self.misses += 1

    @staticmethod
    def unpack(data: bytes) -> str | None:
        return data.decode() if data.isascii() else None

    def get(self, key: str, compute: Callable[[], str], seconds: float = 10.0) -> str:
        return self.cache.get(key, Lifetime(time.monotonic(), seconds), compute)


@pytest.fixture
def counted() -> CountedCache:
    return CountedCache()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as it:
        yield it


class Waiting(Lifetime):
    """A lifetime that signals when its request begins to wait."""

    def __init__(self, waits: threading.Semaphore, seconds: float = 10.0):
        super().__init__(time.monotonic(), seconds)
        self.waits = waits

    def left(self) -> float:
        self.waits.release()
        return super().left()


@dataclass
class Flight:
    """A leader that computes until it is told to end, and followers that wait for it."""

    leader: Future[str]
    followers: list[Future[str]]
    lives: list[Waiting]
    end: threading.Event


def start_flight(counted: CountedCache, pool: ThreadPoolExecutor, count: int, then: Callable[[], str]) -> Flight:
    begun, end, waits = threading.Event(), threading.Event(), threading.Semaphore(0)

    def compute() -> str:
        begun.set()
        assert end.wait(5)
        return then()

    leader = pool.submit(counted.get, "a", compute)
    assert begun.wait(5)
    lives = [Waiting(waits) for _ in range(count)]
    followers = [pool.submit(counted.cache.get, "a", life, lambda: "by a follower") for life in lives]
    for _ in lives:
        assert waits.acquire(timeout=5)
    return Flight(leader, followers, lives, end)


def failing(error: Exception) -> Callable[[], str]:
    def fail() -> str:
        raise error

    return fail


def test_a_value_is_computed_once_and_then_kept(counted: CountedCache) -> None:
    assert [counted.get("a", lambda: "first"), counted.get("a", lambda: "second")] == ["first", "first"]
    assert (counted.misses, counted.hits) == (1, ["process"])


def test_those_who_come_while_it_is_computed_wait_for_it(counted: CountedCache, pool: ThreadPoolExecutor) -> None:
    flight = start_flight(counted, pool, 8, lambda: "by the leader")
    flight.end.set()
    assert {f.result(5) for f in [flight.leader, *flight.followers]} == {"by the leader"}
    assert (counted.misses, counted.hits) == (1, ["flight"] * 8)


@pytest.mark.parametrize("error", [ClientGone("gone"), DeadlinePassed("late"), ModelFailed("broken"), MemoryError()])
def test_a_leader_that_fails_by_itself_is_followed_by_another(
    counted: CountedCache, pool: ThreadPoolExecutor, error: Exception
) -> None:
    flight = start_flight(counted, pool, 8, failing(error))
    flight.end.set()
    assert flight.leader.exception(5) is error
    assert {f.result(5) for f in flight.followers} == {"by a follower"}
    assert counted.misses == 2


def test_a_broken_photo_is_judged_once_for_all_who_sent_it(counted: CountedCache, pool: ThreadPoolExecutor) -> None:
    flight = start_flight(counted, pool, 8, failing(BadInput("the photo is broken")))
    flight.end.set()
    errors = [f.exception(5) for f in [flight.leader, *flight.followers]]
    assert {str(error) for error in errors} == {"the photo is broken"}
    assert len({id(error) for error in errors}) == 9
    assert counted.misses == 1
    assert counted.get("a", lambda: "mended") == "mended"  # an error is not kept


def test_a_follower_waits_no_longer_than_its_own_deadline(counted: CountedCache, pool: ThreadPoolExecutor) -> None:
    flight = start_flight(counted, pool, 1, lambda: "late")
    with pytest.raises(DeadlinePassed):
        counted.get("a", lambda: "never", seconds=0.2)
    assert not flight.leader.done()
    flight.end.set()
    assert flight.followers[0].result(5) == "late"


def test_followers_whose_clients_went_away_do_not_take_over(counted: CountedCache, pool: ThreadPoolExecutor) -> None:
    flight = start_flight(counted, pool, 4, failing(ModelFailed("broken")))
    for life in flight.lives[:3]:
        life.abandon()
    flight.end.set()
    assert flight.followers[3].result(5) == "by a follower"
    for gone in flight.followers[:3]:  # they may at most return a value that is there already
        assert gone.exception(5) is None or isinstance(gone.exception(5), ClientGone)
    assert counted.misses == 2


def test_the_least_recently_used_value_goes_first() -> None:
    counted = CountedCache(most_bytes=10)
    for key in ("a", "b"):
        counted.get(key, lambda: "12345")
    counted.get("a", lambda: "again")
    counted.get("c", lambda: "12345")
    counted.hits.clear()
    for key in ("a", "c", "b"):
        counted.get(key, lambda: "54321")
    assert counted.hits == ["process", "process"]


def test_a_value_larger_than_the_whole_cache_is_answered_and_not_kept() -> None:
    counted = CountedCache(most_bytes=10)
    assert counted.get("a", lambda: "x" * 100) == "x" * 100
    assert counted.get("a", lambda: "y") == "y"


def test_what_one_process_computed_another_takes_from_the_store() -> None:
    store = Table()
    CountedCache(store=store).get("a", lambda: "by the first pod")
    other = CountedCache(store=store)
    assert other.get("a", lambda: "again") == "by the first pod"
    assert (other.misses, other.hits) == (0, ["redis"])


def test_a_stored_value_that_cannot_be_read_is_computed_and_replaced() -> None:
    store = Table()
    store.values["a"] = b"\xff\xfe"
    counted = CountedCache(store=store)
    assert counted.get("a", lambda: "good") == "good"
    assert (counted.misses, store.corrupted, store.values["a"]) == (1, 1, b"good")


def test_another_model_or_another_file_has_another_key(tmp_path: Path) -> None:
    files = [tmp_path / "a.onnx", tmp_path / "b.py"]
    for file in files:
        file.write_bytes(b"one")
    before = version_of(files)
    assert before == version_of(files)
    files[1].write_bytes(b"two")
    assert before != version_of(files) != version_of(reversed(files))
    assert len({key_of("faces", version, file) for version in ("1", "2") for file in (b"a", b"b")}) == 4
