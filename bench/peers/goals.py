"""The goals of the comparison, and which servers are ahead: pure functions of the results."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from bench.peers.peer import Peer
from bench.peers.rounds import Result, Turn
from bench.peers.works import MANY, WORKS

BEFORE = "before"
SINCE = "3272f28"  # the commit that a goal about earlier processor time is compared with
Results = Mapping[str, Result]


@dataclass(frozen=True)
class Goal:
    """A ratio of this server's figure to a peer's. floor and goal are None where it is shown, and no goal.

    The figure is the rate, or with cpu the processor time an answer, which is better the lower it is.
    """

    about: str
    peer: str
    work: str
    floor: float | None = None
    goal: float | None = None
    connections: int = MANY
    cpu: bool = False

    def of(self, turn: Turn) -> float:
        return turn.ours.cpu / turn.peer.cpu if self.cpu else turn.ratio


GOALS = (
    Goal("small net, JSON: of the bare loop with its pinned codec", "bare-pinned", "small-json", 1.0, 1.3),
    Goal("small net, JSON: of the bare loop with the codec of now", "bare", "small-json"),
    Goal("small net, JSON: of mosec", "mosec", "small-json", 0.8, 1.1),
    Goal("small net, JSON: of Triton", "triton", "small-json", 1.5, 2.0),
    Goal(f"small net, JSON: processor time an answer, of {SINCE}", BEFORE, "small-json", 0.35, 0.25, cpu=True),
    Goal("small net, JSON: of FastAPI on its loop", "fastapi-loop", "small-json", 1.2, 1.5, connections=1),
    Goal("JPEG of 17 KB: of gunicorn with two workers", "gunicorn", "jpeg", 1.05, 1.2),
    Goal("JPEG of 17 KB: of mosec", "mosec", "jpeg", 0.9, 1.0),
    Goal("JPEG of 17 KB: of the bare loop", "bare", "jpeg", 0.9, 0.95),
    Goal("the demo's JPEG: of its bare loop", "demo", "demo-jpeg", 0.92, 0.95),
    Goal("the demo's JPEG: of its bare loop", "demo", "demo-jpeg", 0.90, 0.95, connections=1),
)


@dataclass(frozen=True)
class Ahead:
    """A peer that answered more requests than this server did. ratio: this server's rate, as a multiple of the peer's."""

    peer: str
    work: str
    connections: int
    ratio: float


def needed(peer: str) -> dict[str, tuple[int, ...]]:
    """Return what the goals are judged by: for each work of a peer the numbers of connections."""
    found: dict[str, tuple[int, ...]] = {}
    for goal in GOALS:
        if goal.peer == peer:
            found[goal.work] = (*found.get(goal.work, ()), goal.connections)
    return found


def turns(goal: Goal, results: Results) -> list[Turn]:
    """Return the rounds that a goal is judged by, none where it was not measured."""
    return results[goal.peer].turns.get(goal.work, {}).get(goal.connections, []) if goal.peer in results else []


def reached(goal: Goal, rounds: list[Turn]) -> str:
    """Return "goal", "floor" or "no"; "" where nothing was measured, or the ratio is no goal."""
    if not rounds or goal.floor is None or goal.goal is None:
        return ""
    sign = -1 if goal.cpu else 1
    ratio = sign * median(map(goal.of, rounds))
    return "goal" if ratio >= sign * goal.goal else "floor" if ratio >= sign * goal.floor else "no"


def ratio(result: Result, work: str, connections: int) -> float | None:
    """Return the median of the rounds' own ratios, None where this was not measured."""
    return result.of(work, connections, lambda turn: turn.ratio)


def ahead(peers: list[Peer], results: Results) -> Iterator[Ahead]:
    """Yield each peer, work and number of connections where this server's rate is below the peer's."""
    for peer in (peer for peer in peers if peer.name in results):
        for work in WORKS:
            for connections in work.connections:
                value = ratio(results[peer.name], work.name, connections)
                if value is not None and value < 1:
                    yield Ahead(peer.title, work.name, connections, value)
