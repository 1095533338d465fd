"""A server under pressure: pings while it is busy, and ten times what it can do."""

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench import process, tools
from bench.served import BenchError, Served, serve
from bench.work import Work

PING = "/api/ping"
PING_RATE = 200.0  # a second; enough for a p99, and too few to load the server
CONNECTIONS = 32
TIMES = 10  # the overload, in multiples of the peak
ON_THEIR_WAY = 2000
PAUSE_SECONDS = 5.0  # without load, so that memory is given back
PATIENCE_SECONDS = 20.0
BACK_MB = 20.0  # the growth of memory that may stay


@dataclass(frozen=True)
class Pings:
    """Milliseconds, each a median over the rounds."""

    loaded_p50: float
    loaded_p99: float
    alone_p99: float
    alone_rate: float


@dataclass(frozen=True)
class Overload:
    """Rates are answers a second, memory is MB, latencies are milliseconds. told: the load generator's report."""

    peaks: list[float]
    told: dict[str, Any]
    seconds: int
    server_cpu: float
    memory_before: float
    memory_most: float
    memory_after: float

    @property
    def peak(self) -> float:
        return median(self.peaks)

    @property
    def goodput(self) -> float:
        """Return good answers a second while the load lasted, as part of the peak."""
        good: int = self.told["statuses"].get("200", {}).get("in_time", 0)
        return good / self.seconds / self.peak


def pings(work: Work, rounds: int, seconds: int) -> Pings:
    """Ping while every worker is busy, with one connection for each request that may run, and while the server is idle."""
    busy, alone = [], []
    with serve(work.folder) as server:
        for _ in range(rounds):
            with tools.wrk(server.url, work, CONNECTIONS, seconds + 2):
                time.sleep(1)
                told = tools.open_loop(server.url + PING, None, PING_RATE, seconds, CONNECTIONS, CONNECTIONS)
            if told["errors"] or list(told["statuses"]) != ["200"]:
                raise BenchError(f"{PING}: not every answer was good: {told}")
            busy.append(told["statuses"]["200"]["from_schedule_ms"])
            alone.append(tools.closed(server.url + PING, None, CONNECTIONS, seconds))
    return Pings(
        median(one["p50"] for one in busy),
        median(one["p99"] for one in busy),
        median(one.p99 for one in alone),
        median(one.rate for one in alone),
    )


def overload(work: Work, rounds: int, round_seconds: int, seconds: int) -> Overload:
    """Find the peak, send ten times as much, and find the peak again, since the machine may have changed meanwhile."""
    with serve(work.folder) as server:
        tools.closed(server.url, work, CONNECTIONS, 1)
        peaks = _peaks(server, work, rounds, round_seconds)
        time.sleep(PAUSE_SECONDS)
        before, cpu = process.resident(server.pid), process.cpu(server.pid)
        with process.Watch(server.pid) as watch:
            told = tools.open_loop(server.url, work, TIMES * median(peaks), seconds, ON_THEIR_WAY)
        used = process.cpu(server.pid) - cpu
        after = process.settled(server.pid, before + BACK_MB, PATIENCE_SECONDS)
        peaks += _peaks(server, work, rounds, round_seconds)
    return Overload(peaks, told, seconds, used.total, before, watch.most, after)


def _peaks(server: Served, work: Work, rounds: int, seconds: int) -> list[float]:
    return [tools.closed(server.url, work, CONNECTIONS, seconds).rate for _ in range(rounds)]
