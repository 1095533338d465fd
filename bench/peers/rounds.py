"""Measures a peer and this server in turns, and keeps the figures as one JSON file a peer."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from bench import machine, tools
from bench.machine import Noise, mean
from bench.peers import answers, running
from bench.peers.peer import HERE, Peer
from bench.peers.running import Running
from bench.peers.works import MANY, WORKS, PeerWork
from bench.served import BenchError
from bench.work import ROOT, Work

RESULTS = HERE / ".results"
WARM_SECONDS = 2


@dataclass(frozen=True)
class Load:
    """One server, loaded for some seconds.

    The rate is answers a second. p50 and p99 are milliseconds. cpu is milliseconds of processor time an answer, of all its
    processes. others and stolen are those of machine.Noise, meanwhile.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    others: float = 0.0
    stolen: float = 0.0


@dataclass(frozen=True)
class Turn:
    """This server and the peer, one after the other, within one round."""

    ours: Load
    peer: Load

    @property
    def ratio(self) -> float:
        """Return this server's rate as a multiple of the peer's."""
        return self.ours.rate / self.peer.rate


Plan = Mapping[str, tuple[int, ...]]  # what to measure: for each work the numbers of connections
Turns = dict[str, dict[int, list[Turn]]]  # by the name of the work and the connections


@dataclass(frozen=True)
class Result:
    """The figures of one peer. ours: the state of this server beside it. error: why there are no figures, or not all."""

    name: str
    title: str
    version: str
    date: str
    seconds: float
    turns: Turns
    error: str = ""
    ours: str = ""

    def of(self, work: str, connections: int, take: Callable[[Turn], float]) -> float | None:
        """Return the median over the rounds, None where this was not measured."""
        rounds = self.turns.get(work, {}).get(connections, [])
        return median(map(take, rounds)) if rounds else None

    @property
    def noise(self) -> Noise:
        """Return what the machine did beside all of its loads."""
        rounds = [turn for by_connections in self.turns.values() for turns in by_connections.values() for turn in turns]
        return mean([Noise(load.others, load.stolen) for turn in rounds for load in (turn.ours, turn.peer)])


def plan(peer: Peer) -> Plan:
    """Return all of a peer's work."""
    return {work.name: work.connections for work in WORKS if work.name in peer.exchanges}


def measure(ours: Peer, peer: Peer, programs: Path, plan: Plan, rounds: int, seconds: int) -> tuple[Turns, str]:
    """Return the turns of a peer's work, and why some is missing. A work that fails does not end the others.

    Both servers are up meanwhile, and one is loaded at a time.
    """
    turns: Turns = {}
    errors = []
    for work in (work for work in WORKS if work.name in plan):
        try:
            turns[work.name] = _work(ours, peer, programs, replace(work, connections=plan[work.name]), rounds, seconds)
        except (BenchError, subprocess.SubprocessError) as error:
            errors.append(f"{work.name}: {error}")
    return turns, "\n".join(errors)


def check(ours: Peer, peer: Peer, programs: Path) -> None:
    """Compare the answers of both servers for all of a peer's work. Raises BenchError."""
    for work in (work for work in WORKS if work.name in peer.exchanges):
        with _both(ours, peer, programs, work):
            pass


@contextlib.contextmanager
def _both(ours: Peer, peer: Peer, programs: Path, work: PeerWork) -> Iterator[tuple[Running, Running]]:
    """Keep both servers ready for the length of a block, their answers compared."""
    with running.run(ours, programs, work) as first, running.run(peer, programs, work) as second:
        for server in (first, second):
            answers.check(server, work)
        yield first, second


def _work(ours: Peer, peer: Peer, programs: Path, work: PeerWork, rounds: int, seconds: int) -> dict[int, list[Turn]]:
    found: dict[int, list[Turn]] = {connections: [] for connections in work.connections}
    with _both(ours, peer, programs, work) as servers:
        for server in servers:
            load(server, servers, work, max(work.connections), WARM_SECONDS)
        for number in range(rounds):
            order = -1 if number % 2 else 1  # the second of two may find the machine warmer
            for connections in work.connections:
                length = seconds if connections == MANY else max(1, seconds - 1)
                loads = [load(server, servers, work, connections, length) for server in servers[::order]]
                found[connections].append(Turn(*loads[::order]))
        for server in servers:
            answers.check(server, work)  # the load may have changed what it answers
    return found


def load(server: Running, all_up: Sequence[Running], work: PeerWork, connections: int, seconds: int) -> Load:
    """Load one of the servers that are up, which all belong to the measurement."""
    exchange = server.peer.exchanges[work.name]
    body, headers = exchange.body(), dict(exchange.headers)
    sent = Work(work.name, work.about, ROOT, exchange.path, body, exchange.content_type, headers=headers)
    began = machine.usage()
    told = tools.closed(server.url, sent, connections, seconds)
    ended = machine.usage()
    used = began.used(ended, server.processes())
    noise = began.noise(ended, [os.getpid(), *(pid for one in all_up for pid in one.processes())])
    return Load(told.rate, told.p50, told.p99, 1000 * used / (told.rate * told.seconds), noise.others, noise.stolen)


def result(peer: Peer, began: float, turns: Turns, error: str, ours: str) -> Result:
    """Return a peer's result of today. began: of time.monotonic. ours: the state of this server."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return Result(peer.name, peer.title, peer.version, date, round(time.monotonic() - began, 1), turns, error, ours)


def write(made: Result) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{made.name}.json").write_text(json.dumps(asdict(made), indent=1) + "\n", encoding="utf-8")


def read() -> dict[str, Result]:
    """Return all results that are there, by the peers' names."""
    return {path.stem: parsed(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def parsed(text: str) -> Result:
    """Return the result in the text of a file."""
    fields = json.loads(text)
    turns = {
        work: {int(count): [Turn(Load(**one["ours"]), Load(**one["peer"])) for one in rounds] for count, rounds in by.items()}
        for work, by in fields.pop("turns").items()
    }
    return Result(**fields, turns=turns)
