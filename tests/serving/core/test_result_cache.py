"""The cache of results: its keys, single computation, and requests that wait while a leader fails or is late."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.api import Answer, BadInput, ClientGone, DeadlinePassed, Lifetime, ModelFailed, Request, Service, open_service
from serving.base import json_codec
from serving.base.errors import FetchFailed
from serving.core.result_cache import ResultCache
from serving.inputs.files import File
from serving.inputs.payload import Payload
from tests.running import make_service
from tests.waiting import until


class Computing(Service):
    """Its tests say what it computes."""

    compute: Callable[[Request], Any] = staticmethod(lambda request: request.data)

    def handle(self, request: Request) -> Any:
        return self.compute(request)


class CountedCache:
    def __init__(self, folder: Path, settings: str = ""):
        folder = make_service(folder / "small", f'cache = "local"\n{settings}', "from serving.api import Service")
        service = open_service(folder, kind=Computing)
        assert isinstance(service, Computing)
        self.service, self.cache = service, ResultCache(service)

    def get(self, compute: Callable[[], Any], data: Any = "a", life: Lifetime | None = None, **more: Any) -> Any:
        """Return the results as the client would read them."""
        self.service.compute = lambda request: compute()
        return self.ask(request(data, life, **more))

    def ask(self, request: Request) -> Any:
        found = self.cache.handle(request)
        return found if isinstance(found, Answer | Iterator) else json_codec.loads(json_codec.dumps(found))

    def count(self, name: str, **labels: str) -> float:
        return self.service.metrics.registry.get_sample_value(f"monopod_cache_{name}_total", labels) or 0.0

    @property
    def counted(self) -> tuple[float, float, float]:
        """Return how many results were computed, found in the process, and waited for."""
        return self.count("misses"), self.count("hits", place="process"), self.count("hits", place="flight")


def request(data: Any = "a", life: Lifetime | None = None, query: dict[str, str] | None = None, **more: Any) -> Request:
    return Request("id", life or Lifetime(time.monotonic(), 10.0), Payload(data=data, **more), query or {})


@pytest.fixture
def counted(tmp_path: Path) -> CountedCache:
    return CountedCache(tmp_path)


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
    """A leader that computes until it is told to end, and others that wait for it."""

    leader: "Future[Any]"
    others: "list[Future[Any]]"
    lives: list[Waiting]
    end: threading.Event


def start_flight(
    counted: CountedCache,
    pool: ThreadPoolExecutor,
    count: int,
    then: Callable[[], Any],
    seconds: float = 10.0,
    other: Callable[[], Any] = lambda: "by another",
) -> Flight:
    """Begin a flight. then: returns the leader's results. other: those of all who compute later."""
    begun, end, waits, first = threading.Event(), threading.Event(), threading.Semaphore(0), threading.Lock()

    def compute(request: Request) -> Any:
        if not first.acquire(blocking=False):
            return other()
        begun.set()
        assert end.wait(5)
        return then()

    counted.service.compute = compute
    leader = pool.submit(counted.ask, request(life=Lifetime(time.monotonic(), seconds)))
    assert begun.wait(5)
    lives = [Waiting(waits) for _ in range(count)]
    others = [pool.submit(counted.ask, request(life=life)) for life in lives]
    for _ in lives:
        assert waits.acquire(timeout=5)
    return Flight(leader, others, lives, end)


def failing(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def test_results_are_computed_once_and_then_kept(counted: CountedCache) -> None:
    array = np.array([0.5, float("nan")], np.float32)
    assert [counted.get(lambda: {"scores": array}), counted.get(lambda: "second")] == [{"scores": [0.5, None]}] * 2
    assert counted.counted == (1, 1, 0)


@pytest.mark.parametrize(
    "other",
    [
        request(1),
        request(1.0),
        request(True),
        request("1"),
        request([1]),
        request(fields={"threshold": 0.5}),
        request(fields={"text": "\udc80"}),
        request(query={"threshold": "0.5"}),
        request(files={"image": (File(b"another"),)}),
        request(files={"image": (File(b"picture", type="image/png"),)}),
        request(files={"image": (File(b"picture", name="a.png"),)}),
        request(files={"mask": (File(b"picture"),)}),
        request(files={"image": (File(b"pict"), File(b"ure"))}),
    ],
    ids=lambda other: ascii(other.payload) + ascii(other.query),  # the same in every process
)
def test_a_request_that_differs_has_results_of_its_own(counted: CountedCache, other: Request) -> None:
    asked = [request(), request(None), request(files={"image": (File(b"picture"),)}), other]
    numbers = iter(range(1, 9))
    counted.service.compute = lambda request: next(numbers)
    assert [counted.ask(replace(each, life=Lifetime(time.monotonic(), 10))) for each in asked * 2] == [1, 2, 3, 4] * 2


def test_ids_are_no_part_of_the_key(counted: CountedCache) -> None:
    assert counted.get(lambda: "first", ids={"postid": "1"}, query={"uid": "1"}) == "first"
    assert counted.get(lambda: "second", ids={"postid": "2"}, query={"uid": "2"}) == "first"


def test_another_model_code_or_setting_is_another_version(counted: CountedCache) -> None:
    folder, versions = counted.service.folder, set[str]()
    for path, text in ("model/labels.txt", "cat"), ("model/labels.txt", "dog"), ("src/server.py", "a = 1"):
        (folder / path).write_text(text)
        versions.add(ResultCache(open_service(folder, kind=Computing)).version)
    value = folder / "value.py"
    value.write_text(value.read_text() + 'options = {"threshold": 0.5}\n')
    cache = ResultCache(open_service(folder, kind=Computing))
    assert len(versions | {cache.version}) == 4
    assert cache.version == ResultCache(open_service(folder, kind=Computing)).version


def test_a_watched_file_that_changes_ends_the_use_of_older_results(counted: CountedCache, tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_text("one")
    counted.service.watch(path, lambda: None)
    assert counted.get(lambda: "of one") == "of one"
    (tmp_path / "new").write_text("other")
    os.replace(tmp_path / "new", path)
    until(lambda: counted.get(lambda: "of other") == "of other")


def test_those_who_come_while_it_is_computed_wait_for_it(counted: CountedCache, pool: ThreadPoolExecutor) -> None:
    flight = start_flight(counted, pool, 8, lambda: "by the leader")
    flight.end.set()
    assert {f.result(5) for f in [flight.leader, *flight.others]} == {"by the leader"}
    assert counted.counted == (1, 0, 8)


@pytest.mark.parametrize(
    "error", [ClientGone("gone"), DeadlinePassed("late"), ModelFailed("broken"), FetchFailed("away"), MemoryError()], ids=repr
)
def test_a_leader_that_fails_by_itself_is_followed_by_another(
    counted: CountedCache, pool: ThreadPoolExecutor, error: Exception
) -> None:
    flight = start_flight(counted, pool, 8, failing(error))
    flight.end.set()
    assert flight.leader.exception(5) is error
    assert {f.result(5) for f in flight.others} == {"by another"}
    assert counted.counted[0] == 2


def test_a_broken_input_is_judged_once_for_all_who_sent_it_and_not_kept(
    counted: CountedCache, pool: ThreadPoolExecutor
) -> None:
    flight = start_flight(counted, pool, 8, failing(BadInput("the photo is broken")))
    flight.end.set()
    errors = [f.exception(5) for f in [flight.leader, *flight.others]]
    assert {str(error) for error in errors} == {"the photo is broken"}
    assert len({id(error) for error in errors}) == 9
    assert counted.counted[0] == 1
    assert counted.get(lambda: "mended") == "mended"


def test_a_request_waits_no_longer_than_its_own_deadline_and_leaves_the_leader_alone(
    counted: CountedCache, pool: ThreadPoolExecutor
) -> None:
    flight = start_flight(counted, pool, 1, lambda: "late")
    with pytest.raises(DeadlinePassed):
        counted.ask(request(life=Lifetime(time.monotonic(), 0.2)))
    assert not flight.leader.done()
    flight.end.set()
    assert flight.others[0].result(5) == "late"
    assert counted.counted == (1, 0, 1)


def test_a_leader_that_works_on_past_its_deadline_is_not_waited_for(counted: CountedCache, pool: ThreadPoolExecutor) -> None:
    flight = start_flight(counted, pool, 8, lambda: "late", seconds=0.3)
    assert {f.result(5) for f in flight.others} == {"by another"}
    assert not flight.leader.done()
    assert counted.counted[0] == 2
    flight.end.set()
    assert flight.leader.result(5) == "late"


def test_a_client_that_goes_frees_its_thread_at_once(counted: CountedCache, pool: ThreadPoolExecutor) -> None:
    flight = start_flight(counted, pool, 2, lambda: "by the leader")
    flight.lives[0].abandon()
    assert isinstance(flight.others[0].exception(5), ClientGone)
    assert not flight.leader.done()
    flight.end.set()
    assert flight.others[1].result(5) == "by the leader"


@pytest.mark.parametrize("results", [lambda: iter([1]), lambda: Answer(b"no", "text/plain", 404)], ids=["iterator", "404"])
def test_what_cannot_be_sent_again_is_computed_by_each_side_by_side(
    counted: CountedCache, pool: ThreadPoolExecutor, results: Callable[[], Any]
) -> None:
    together = threading.Barrier(4)

    def compute() -> Any:
        together.wait(5)
        return results()

    flight = start_flight(counted, pool, 4, results, other=compute)
    flight.end.set()
    found = [f.result(5) for f in [flight.leader, *flight.others]]
    assert {type(each) for each in found} == {type(results())}
    assert len({id(each) for each in found}) == 5


def test_an_answer_of_bytes_is_kept_with_its_content_type(counted: CountedCache) -> None:
    answers = [counted.get(lambda: Answer(b"a\nb", "image/png")), counted.get(lambda: "second")]
    assert answers == [Answer(b"a\nb", "image/png")] * 2


def test_the_least_recently_used_go_first_and_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    counted = CountedCache(tmp_path, 'cache_memory = "1Mi"')
    for key in ("a", "b"):
        counted.get(lambda: "x" * 400_000, key)
    counted.get(lambda: "again", "a")
    counted.get(lambda: "x" * 400_000, "c")
    counted.get(lambda: "x" * 1_100_000, "d")
    assert [len(counted.get(lambda: "y", key)) for key in ("a", "c", "b", "d")] == [400_000, 400_000, 1, 1]


def test_results_are_kept_for_cache_second(tmp_path: Path) -> None:
    counted = CountedCache(tmp_path, "cache_second = 1")
    assert counted.get(lambda: "first") == "first"
    until(lambda: counted.get(lambda: "second") == "second", seconds=5)


def test_an_own_route_gets_plain_results_with_a_cache_and_without(tmp_path: Path) -> None:
    counted = CountedCache(tmp_path)
    counted.service.compute = lambda request: {"at": np.array([1, 2])}
    assert [counted.service.cached(request()), counted.service.cached(request())] == [{"at": [1, 2]}] * 2
    assert counted.counted == (1, 1, 0)
    without = open_service(counted.service.folder, kind=Computing)
    assert isinstance(without, Computing)
    without.compute = counted.service.compute
    assert without.cached(request()) == {"at": [1, 2]}
