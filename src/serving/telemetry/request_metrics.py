"""The counters and histograms of a request's path, as plain numbers: requests, their stages, batches and refusals.

Concurrency. Any thread may call any method. A thread that notes a row only extends a list, which CPython does in one step. The
thread that makes the list long settles it: it cuts the rows off and counts them, under `_lock`, which all lists share. A thread
that notes never waits for that lock. Where another thread holds it, the rows wait for the next note. A reader takes the lock
and settles first, so it sees every row that was noted before. `_lock` guards everything that is settled, and the making of a
series. It is held for less than a millisecond. The dictionaries of series only grow.
"""

import math
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.settings.exported_metrics import METRICS, ROWS, SIZES, STAGES, ExportedMetric, seconds_bounds

ROWS_WAITING = 512  # rows that are settled at once: 0.1 ms of work

RECENT = 1000  # good answers of each route whose durations are kept
STAGES_WAITING = 4 * ROWS_WAITING  # begins of stages that are settled at once: 300 requests' or more
PERCENTILES = (50, 95, 99)
ABSENT = math.nan  # stands for a time or a size that a request does not have; a histogram does not count it

Numbers = NDArray[np.float64]
End = tuple[str, int, str]  # of a request: its route, its code, and the reason of an error
Samples = list[tuple[tuple[str, ...], "int | Distribution"]]  # the labels' values of each series, and its value

REQUESTS = METRICS["monopod_requests_total"]
DURATION = METRICS["monopod_request_duration_seconds"]
ANSWER = METRICS["monopod_answer_duration_seconds"]
STAGE = METRICS["monopod_stage_duration_seconds"]
REQUEST_SIZE = METRICS["monopod_request_size_bytes"]
RESPONSE_SIZE = METRICS["monopod_response_size_bytes"]
BATCH_ROWS = METRICS["monopod_batch_rows"]
BATCH_SECONDS = METRICS["monopod_batch_duration_seconds"]
SHED = METRICS["monopod_shed_total"]
COUNTED = (REQUESTS, DURATION, ANSWER, STAGE, REQUEST_SIZE, RESPONSE_SIZE, BATCH_ROWS, BATCH_SECONDS, SHED)
NUMBERS = {stage: number for number, stage in enumerate(STAGES)}
END = len(STAGES)


@dataclass(frozen=True)
class Distribution:
    """A histogram as it is read."""

    bounds: tuple[float, ...]  # the buckets' upper bounds; the last is infinity
    counts: tuple[int, ...]  # for each bound, how many values do not exceed it
    sum: float


class BucketCounts:
    """Counts values by buckets. bounds: their upper bounds, ascending. Its owner's lock is held in every call."""

    def __init__(self, bounds: Sequence[float]):
        self._bounds = np.array([*bounds, math.inf])
        self._counts = np.zeros(len(self._bounds) + 1, np.int64)  # the last place is for NaN
        self._sum = 0.0

    def add(self, values: Numbers) -> None:
        """Count values, of shape (n,), without NaN."""
        counts = np.bincount(self._bounds.searchsorted(values), minlength=len(self._counts))
        self._counts += counts
        self._sum += float((values[~np.isnan(values)] if counts[-1] else values).sum())

    def count(self) -> int:
        """Return how many values were counted."""
        return int(self._counts[:-1].sum())

    def read(self) -> Distribution:
        return Distribution(tuple(self._bounds.tolist()), tuple(np.cumsum(self._counts[:-1]).tolist()), self._sum)


class RowBuffer:
    """Rows of numbers that any thread notes. width: numbers of a row.

    take: gets the rows as an array of shape (rows, width), while the lock is held. most: rows that are settled at once.
    """

    def __init__(self, width: int, take: Callable[[Numbers], Any], lock: threading.Lock, most: int = ROWS_WAITING):
        self._width, self._take, self._lock = width, take, lock
        self._numbers: list[float] = []
        self._most = most * width

    def __len__(self) -> int:
        return len(self._numbers) // self._width

    def note(self, row: Sequence[float]) -> None:
        """Note one row, or several. row: a tuple or list, since no other type is appended in one step."""
        numbers = self._numbers
        numbers.extend(row)
        if len(numbers) >= self._most and self._lock.acquire(blocking=False):
            try:
                self.settle()
            finally:
                self._lock.release()

    def settle(self) -> None:
        """Hand all rows that wait to `take`. The caller holds the lock."""
        count = len(self._numbers)
        if count:
            numbers = self._numbers[:count]
            del self._numbers[:count]  # before anything that may raise, so that a bad row is not met again
            packed = struct.pack(f"{count}d", *numbers)  # in a third of the time that np.array takes
            self._take(np.frombuffer(packed, np.float64).reshape(-1, self._width))


def stage_seconds(begins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the seconds of each stage, of shape (requests, len(STAGES)); NaN where a request had no such stage.

    begins: of whole requests one after the other, of shape (pairs, 2). Each pair is a stage's number and when it began, and the
    last of a request END and when it ended. To note pairs takes a request less time than to add them up.
    """
    stages = begins[:, 0].astype(np.int64)
    ends = stages == END
    requests = np.cumsum(ends)  # before each pair, and with it where the pair is an end
    places = (requests * len(STAGES) + stages)[~ends]
    seconds = np.diff(begins[:, 1], append=0.0)[~ends]
    shape = int(requests[-1]), len(STAGES)
    found = np.asarray(np.bincount(places, seconds, shape[0] * shape[1]), np.float64)
    found[np.bincount(places, minlength=len(found)) == 0] = np.nan
    return found.reshape(shape)


MakeList = Callable[[int, Callable[[Numbers], Any]], RowBuffer]  # of a width, and of what takes its rows


class RequestMetrics:
    """Counts requests, their stages, batches and refusals. All times are seconds.

    timeout: of the service's requests. objective: the time of a good answer.
    """

    def __init__(self, timeout: float = 30.0, objective: float | None = None) -> None:
        self._bounds = seconds_bounds(timeout, objective)
        self._lock = threading.Lock()
        self._waiting: list[RowBuffer] = []  # all of them, for who reads
        self._routes: dict[str, _Route] = {}
        self._ends: dict[End, tuple[RowBuffer, int]] = {}  # where such requests are noted, and their number there
        self._refusals: dict[str, _Refusals] = {}
        self._batches: dict[str, _Batches] = {}
        self._stages = {stage: BucketCounts(self._bounds) for stage in STAGES}
        self._stages_waiting = self._list(2, self._take_stages, STAGES_WAITING)

    def expect(self, route: str, ends: Iterable[tuple[int, str]], are_read: bool = True) -> None:
        """Create a route's series with the value 0, since rate() does not see the event that creates a series.

        ends: each code and reason with which its requests may end. are_read: whether any is read to its last byte.
        """
        for code, reason in ends:
            self._end(route, code, reason)
        with self._lock:
            self._route(route).is_expected = are_read

    def expect_shed(self, reasons: Iterable[str]) -> None:
        """Create the series of the refusals with the value 0."""
        for reason in reasons:
            self._reason(reason)

    def request(
        self,
        route: str,
        code: int,
        reason: str,
        seconds: float,
        upload: float = ABSENT,
        received: float = ABSENT,
        sent: float = ABSENT,
    ) -> None:
        """Count one answered request.

        seconds: from its first byte to its answer. upload: from its first byte to its last. received: bytes of its body. The
        answer's body has as many bytes as `sent` says. A request that was refused has ABSENT for the last three.
        """
        self.requests(route, code, reason, [(seconds, upload, received, sent)])

    def requests(self, route: str, code: int, reason: str, rows: Iterable[tuple[float, float, float, float]]) -> None:
        """Count answered requests of one end. rows: the numbers that `request` has for each."""
        waiting, number = self._ends.get((route, code, reason)) or self._end(route, code, reason)
        noted: list[float] = []
        for seconds, upload, received, sent in rows:
            noted += (number, seconds, seconds - upload, received, sent)
        waiting.note(noted)

    def shed(self, reason: str) -> None:
        """Count a request that was refused before any work on it."""
        (self._refusals.get(reason) or self._reason(reason)).waiting.note((1,))

    def stages(self, begins: Sequence[float]) -> None:
        """Observe the stages of one request. begins: the pairs of `stage_seconds`, one after the other."""
        self._stages_waiting.note(begins)

    def batch(self, model: str, rows: int, seconds: float) -> None:
        """Observe one batch. seconds: of the model's run."""
        (self._batches.get(model) or self.expect_batches(model)).waiting.note((rows, seconds))

    def expect_batches(self, model: str) -> "_Batches":
        """Create the series of a model's batches with the value 0."""
        with self._lock:
            if model not in self._batches:
                self._batches[model] = _Batches(self._list, self._bounds)
            return self._batches[model]

    def recent(self, route: str) -> dict[str, float | None]:
        """Return a route's number of requests, and the percentiles of its last RECENT good answers: p50_ms, p95_ms, p99_ms.

        route: as in @route, or "service" for the service's own route. The percentiles are None before its first good answer.
        """
        found = self._routes.get(route.strip("/").replace(".", "_"))
        number, seconds = 0, list[float]()
        if found:
            with self._lock:
                found.waiting.settle()
                number, seconds = sum(found.counts), list(found.recent)
        values = np.percentile(seconds, PERCENTILES) * 1000 if seconds else [None] * len(PERCENTILES)
        named = zip((f"p{p}_ms" for p in PERCENTILES), values, strict=True)
        return {"requests": number, **{name: None if ms is None else round(float(ms), 2) for name, ms in named}}

    def codes(self) -> dict[str, int]:
        """Return the number of answers by their code, since the start."""
        found: dict[str, int] = {}
        for (_, code, _), count in self.read()[REQUESTS]:
            if isinstance(count, int) and count:
                found[code] = found.get(code, 0) + count
        return found

    def read(self) -> dict[ExportedMetric, Samples]:
        """Return the series of each of COUNTED, with all that was noted before this call."""
        with self._lock:
            for waiting in self._waiting:
                waiting.settle()
            routes, batches = self._routes.items(), self._batches.items()
            ends = ((key, self._routes[key[0]].counts[number]) for key, (_, number) in self._ends.items())
            return {
                REQUESTS: [((route, str(code), reason), count) for (route, code, reason), count in ends],
                DURATION: [((name,), route.durations.read()) for name, route in routes],
                ANSWER: [((name,), route.answers.read()) for name, route in routes if route.has_bodies()],
                STAGE: [((stage,), seconds.read()) for stage, seconds in self._stages.items()],
                REQUEST_SIZE: [((name,), route.received.read()) for name, route in routes if route.has_bodies()],
                RESPONSE_SIZE: [((name,), route.sent.read()) for name, route in routes if route.has_bodies()],
                BATCH_ROWS: [((model,), batch.rows.read()) for model, batch in batches],
                BATCH_SECONDS: [((model,), batch.seconds.read()) for model, batch in batches],
                SHED: [((reason,), refusals.count) for reason, refusals in self._refusals.items()],
            }

    def _list(self, width: int, take: Callable[[Numbers], Any], most: int = ROWS_WAITING) -> RowBuffer:
        self._waiting.append(RowBuffer(width, take, self._lock, most))
        return self._waiting[-1]

    def _take_stages(self, begins: Numbers) -> None:
        _add_columns(tuple(self._stages.values()), stage_seconds(begins))

    def _end(self, route: str, code: int, reason: str) -> tuple[RowBuffer, int]:
        """Return where requests of such an end are noted, and their number there."""
        with self._lock:
            if (route, code, reason) not in self._ends:
                found = self._route(route)
                self._ends[route, code, reason] = found.waiting, found.new_end(code)
            return self._ends[route, code, reason]

    def _route(self, name: str) -> "_Route":
        if name not in self._routes:
            self._routes[name] = _Route(self._list, self._bounds)
        return self._routes[name]

    def _reason(self, reason: str) -> "_Refusals":
        with self._lock:
            if reason not in self._refusals:
                self._refusals[reason] = _Refusals(self._list)
            return self._refusals[reason]


class _Route:
    """A route's requests.

    Each row that waits is the number of its end, its duration, its time from the last byte on, and the bytes of both bodies.
    """

    def __init__(self, make_list: MakeList, bounds: Sequence[float]):
        self.counts: list[int] = []  # of each end
        self._good: list[bool] = []
        self.durations, self.answers = BucketCounts(bounds), BucketCounts(bounds)
        self.received, self.sent = BucketCounts(SIZES), BucketCounts(SIZES)
        self.is_expected = False
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.waiting = make_list(5, self._take)

    def new_end(self, code: int) -> int:
        self.counts.append(0)
        self._good.append(code < 400)
        return len(self.counts) - 1

    def has_bodies(self) -> bool:
        """Return whether it has series of what is known once a request's last byte has come."""
        return self.is_expected or self.answers.count() > 0

    def _take(self, rows: Numbers) -> None:
        ends = rows[:, 0].astype(np.int64)
        for number, count in enumerate(np.bincount(ends).tolist()):
            self.counts[number] += count
        self.durations.add(rows[:, 1])
        self.recent.extend(rows[np.array(self._good)[ends], 1][-RECENT:].tolist())
        _add_columns((self.answers, self.received, self.sent), rows[:, 2:])


class _Batches:
    """A model's batches. Each row that waits is a batch's rows and its seconds."""

    def __init__(self, make_list: MakeList, bounds: Sequence[float]):
        self.rows, self.seconds = BucketCounts(ROWS), BucketCounts(bounds)
        self.waiting = make_list(2, partial(_add_columns, (self.rows, self.seconds)))


class _Refusals:
    """The refusals of one reason. Each row that waits is one refusal; its number means nothing."""

    def __init__(self, make_list: MakeList):
        self.count = 0
        self.waiting = make_list(1, self._take)

    def _take(self, rows: Numbers) -> None:
        self.count += len(rows)


def _add_columns(histograms: Sequence[BucketCounts], rows: Numbers) -> None:
    for histogram, values in zip(histograms, rows.T, strict=True):
        histogram.add(values)
