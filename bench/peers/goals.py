"""The goals of the comparison, and which servers are ahead: pure functions of the results.

Knows ratios and groups of peers. Does not know words of the page, nor how anything was measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.peers.peer import Group, Peer
from bench.peers.rounds import Result
from bench.peers.works import MANY, WORKS

BEFORE = "before"
Results = Mapping[str, Result]


@dataclass(frozen=True)
class Goal:
    """A ratio at MANY connections: this server's rate as a multiple of a peer's. The best peer of the group counts."""

    about: str
    work: str
    group: Group
    floor: float
    goal: float


GOALS = (
    Goal("small net, JSON: of the bare uvloop loop", "small-json", "bare", 0.5, 0.7),
    Goal("small net, JSON: of the best Python server", "small-json", "python", 1.2, 2.0),
    Goal("small net, JSON: of Triton", "small-json", "triton", 0.6, 1.5),
    Goal("JPEG: of the bare uvloop loop", "jpeg", "bare", 0.80, 0.90),
    Goal("JPEG: of the best Python server", "jpeg", "python", 1.1, 1.3),
    Goal("JPEG: of Triton", "jpeg", "triton", 0.9, 1.1),
)


@dataclass(frozen=True)
class Found:
    """The result for a goal. ratio is None where the group was not measured. before: the ratio of the checkout `before`."""

    goal: Goal
    peer: str
    ratio: float | None
    before: float | None


@dataclass(frozen=True)
class Ahead:
    """A peer that answered more requests than this server did. ratio: this server's rate, as a multiple of the peer's."""

    peer: str
    work: str
    connections: int
    ratio: float


def ratio(result: Result, work: str, connections: int) -> float | None:
    """Return the median of the rounds' own ratios, None where this was not measured."""
    return result.of(work, connections, lambda turn: turn.ratio)


def found(goal: Goal, peers: list[Peer], results: Results) -> Found:
    """Return what was found for a goal. peers: all that are known."""
    ratios = {
        peer.title: value
        for peer in peers
        if peer.group == goal.group and peer.name in results
        if (value := ratio(results[peer.name], goal.work, MANY)) is not None
    }
    if not ratios:
        return Found(goal, "", None, None)
    best = min(ratios, key=lambda title: ratios[title])
    gained = ratio(results[BEFORE], goal.work, MANY) if BEFORE in results else None
    return Found(goal, best, ratios[best], ratios[best] / gained if gained else None)


def ahead(peers: list[Peer], results: Results) -> Iterator[Ahead]:
    """Yield each peer, work and number of connections where this server's rate is below the peer's."""
    for peer in (peer for peer in peers if peer.name in results):
        for work in WORKS:
            for connections in work.connections:
                value = ratio(results[peer.name], work.name, connections)
                if value is not None and value < 1:
                    yield Ahead(peer.title, work.name, connections, value)
