"""Writes the section of docs/reliability.md about a roll-out of many services, and lists the limits that were broken."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.machine import Machine
from bench.report import table
from bench.rollouts_server import Server
from serving.tools.bench.load_generator import percentile

LIMIT_SECONDS = 300.0
LAST = 300  # characters of a failed command's message
TEXT = """## Three hundred services

{machine}

{services} services of {users} users, {pods} pods in all, are deployed by the command that a user types, `monopod deploy
--service DIR --regions FILE --region eu --image IMAGE`. Each command is a process, and {at_once} run at a time. Then all
services are upgraded to a second version, and then all are stopped. A round of all may take {limit:.0f} s, and no command
may fail. The commands act as a service account with rights in the users' namespaces alone, as a job would. That account
tells their requests from others.

The region is simulated. Its API server, controllers and scheduler are real. Its {nodes} nodes only pretend, and a pod
becomes ready at once and runs nothing. So the time to load images and models is not in the figures, and all else of a
roll-out is. The commands, the API server, etcd and the controllers share these {machine.cores} cores.

"""
BELOW = """
*Everybody's* requests include the requests of the controllers, the scheduler and the simulator, which each new pod sets
to work. A WATCH is counted when it ends. Before the first release the API server got {idle_requests:.0f} requests a
second and took {idle_cores:.2f} of a core. The *rest of the machine* is etcd, the controllers, the scheduler, the
simulator and every other process.

One deploy takes {command:.2f} s of a processor. Of these, {before:.2f} s pass before it asks the cluster: {start:.2f} s
to start Python, {imports:.2f} s to import, and {render:.2f} s to read, check and render the service. The rest is its
requests.
"""


@dataclass(frozen=True)
class Command:
    """One command that has ended. status: -1 where it took too long and was killed."""

    service: str
    seconds: float
    status: int
    said: str


@dataclass(frozen=True)
class Client:
    """Processor seconds of one command: to start Python, to import, and to read, check and render."""

    start: float
    imports: float
    render: float


@dataclass(frozen=True)
class Round:
    """A command for every service. server: figures of the API server. memory: of the API server at most, MB.

    clients, machine: processor seconds of all commands, and of everything on this machine.
    """

    title: str
    seconds: float
    commands: tuple[Command, ...]
    server: Server
    memory: float
    clients: float
    machine: float

    @property
    def failed(self) -> list[Command]:
        return [each for each in self.commands if each.status]

    def each(self, total: float) -> float:
        return total / len(self.commands)


@dataclass(frozen=True)
class Size:
    """The size of the benchmark. at_once: commands that run at a time."""

    nodes: int
    services: int
    users: int
    pods: int
    at_once: int


@dataclass(frozen=True)
class Report:
    """The figures of one run. version: of Kubernetes. idle: figures of the API server for some seconds before the run."""

    machine: Machine
    version: str
    size: Size
    idle: Server
    idle_seconds: float
    client: Client
    rounds: tuple[Round, ...]


def failures(report: Report) -> list[str]:
    """Return a sentence for each command that failed and each round of deploys that took too long."""
    found = []
    for each in report.rounds:
        found += [f"{each.title}: {one.service} ended with {one.status}: {one.said[-LAST:]}" for one in each.failed]
        if each.seconds > LIMIT_SECONDS:
            found.append(f"{each.title}: {each.seconds:.0f} s, at most {LIMIT_SECONDS:.0f} s are allowed")
    return found


def summary(each: Round) -> str:
    """Return a round as one line of text."""
    count = len(each.commands)
    return f"{each.title}: {count} services in {each.seconds:.0f} s, {len(each.failed)} failed"


def section(report: Report) -> str:
    """Return the section of docs/reliability.md."""
    one = report.rounds[0]
    machine = replace(report.machine, versions=f"Kubernetes {report.version}")
    below = BELOW.format(
        idle_requests=report.idle.total / report.idle_seconds,
        idle_cores=report.idle.processor / report.idle_seconds,
        before=sum(vars(report.client).values()),
        command=one.each(one.clients),
        **vars(report.client),
    )
    return TEXT.format(machine=machine, limit=LIMIT_SECONDS, **vars(report.size)) + _table(report.rounds) + below


def _table(rounds: Sequence[Round]) -> str:
    Cell = Callable[[Round], str]
    rows: list[tuple[str, Cell]] = [
        ("all of them, s", lambda each: f"**{each.seconds:.0f}**"),
        ("failed", lambda each: str(len(each.failed))),
        ("one command: median, s", lambda each: f"{statistics.median(one.seconds for one in each.commands):.2f}"),
        ("one command: 95th percentile, s", lambda each: f"{percentile([one.seconds for one in each.commands], 0.95):.2f}"),
        ("requests of one command", lambda each: f"{each.each(each.server.deploys):.1f}"),
        ("everybody's requests, for one command", lambda each: f"{each.each(each.server.total):.1f}"),
    ]
    rows += [(f"- {verb}", _verb(verb)) for verb in _verbs(rounds)]
    rows += [
        ("refused by the API server (429)", lambda each: str(each.server.refused.get("429", 0))),
        ("processor: API server, s", lambda each: f"{each.server.processor:.0f}"),
        ("processor: the commands, s", lambda each: f"{each.clients:.0f}"),
        ("processor: the rest of the machine, s", lambda each: f"{each.machine - each.clients - each.server.processor:.0f}"),
        ("processor: API server, for one command, s", lambda each: f"{each.each(each.server.processor):.2f}"),
        ("processor: one command, s", lambda each: f"{each.each(each.clients):.2f}"),
        ("memory of the API server, at most, MB", lambda each: f"{each.memory:.0f}"),
    ]
    return table(["", *(each.title for each in rounds)], [[name, *map(cell, rounds)] for name, cell in rows])


def _verbs(rounds: Sequence[Round]) -> list[str]:
    return list(dict.fromkeys(verb for each in rounds for verb in each.server.verbs))


def _verb(verb: str) -> Callable[[Round], str]:
    return lambda each: f"{each.each(each.server.verbs.get(verb, 0)):.1f}"
