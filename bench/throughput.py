"""Measures throughput: the server and the bare loop, in turns."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench import machine, process, served, tools
from bench.machine import Noise
from bench.process import Cpu
from bench.work import Work

CONNECTIONS = (1, 8, 32)
QUIET = Noise(0.0, 0.0)


@dataclass(frozen=True)
class Round:
    """The bare loop, then the server, for some seconds each. Rates are answers a second; bare_cpu is seconds a call."""

    bare_rate: float
    bare_cpu: float
    load: tools.Closed
    cpu: Cpu
    noise: Noise = QUIET

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


def measure(work: Work, rounds: int, bare_seconds: float, seconds: int, connections: Sequence[int] = CONNECTIONS) -> Throughput:
    """Alternate the two, so that other work of the machine affects both. connections: each number of them is measured."""
    found: dict[int, list[Round]] = {count: [] for count in connections}
    with contextlib.ExitStack() as stack:
        loop = stack.enter_context(served.bare(work))
        server = stack.enter_context(served.serve(work.folder))
        ours = (os.getpid(), loop.pid, server.pid)
        tools.closed(server.url, work, max(connections), 1)
        for _ in range(rounds):
            for count in connections:
                began = machine.usage()
                bare_rate, bare_cpu = loop.run(bare_seconds, 1 if count == 1 else 0)
                before = process.cpu(server.pid)
                load = tools.closed(server.url, work, count, seconds)
                used = process.cpu(server.pid) - before
                found[count].append(Round(bare_rate, bare_cpu, load, used, began.noise(machine.usage(), ours)))
        return Throughput(work, loop.threads, found)
