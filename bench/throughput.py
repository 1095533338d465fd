"""Measures throughput: the server and the bare loop, in turns.

Knows rounds and medians. Does not know how the load is made.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from bench import process, served, tools
from bench.process import Cpu
from bench.work import Work

CONNECTIONS = (1, 8, 32)


@dataclass(frozen=True)
class Round:
    """The bare loop, then the server, for some seconds each. Rates are answers a second; bare_cpu is seconds a call."""

    bare_rate: float
    bare_cpu: float
    load: tools.Closed
    cpu: Cpu

    @property
    def ratio(self) -> float:
        return self.load.rate / self.bare_rate

    @property
    def answers(self) -> float:
        return self.load.rate * self.load.seconds


@dataclass(frozen=True)
class Throughput:
    """All rounds of one kind of request, by connections."""

    work: Work
    threads: int
    rounds: dict[int, list[Round]]

    def of(self, connections: int, take: Callable[[Round], float]) -> float:
        """Return the median over the rounds."""
        return median(take(one) for one in self.rounds[connections])


def measure(work: Work, rounds: int, bare_seconds: float, seconds: int) -> Throughput:
    """Alternate the two, so that other work of the machine affects both."""
    found: dict[int, list[Round]] = {connections: [] for connections in CONNECTIONS}
    with contextlib.ExitStack() as stack:
        loop = stack.enter_context(served.bare(work))
        server = stack.enter_context(served.serve(work.folder))
        tools.closed(server.url, work, CONNECTIONS[-1], 1)
        for _ in range(rounds):
            for connections in CONNECTIONS:
                bare_rate, bare_cpu = loop.run(bare_seconds, 1 if connections == 1 else 0)
                before = process.cpu(server.pid)
                load = tools.closed(server.url, work, connections, seconds)
                found[connections].append(Round(bare_rate, bare_cpu, load, process.cpu(server.pid) - before))
        return Throughput(work, loop.threads, found)
