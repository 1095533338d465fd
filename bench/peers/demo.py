"""The demo's picture: this checkout's root service beside the bare loop of `make bench`, which has no HTTP."""

from collections.abc import Sequence

from bench import throughput
from bench.peers.peer import Peer
from bench.peers.rounds import Load, Turn, Turns
from bench.throughput import Round
from bench.work import image

DEMO = Peer(
    name="demo",
    title="bare loop of the demo's picture, without HTTP",
    folder="",
    package="onnxruntime",
    command=(),
    exchanges={},
    settings=(
        "Threads of one process decode, run a one-thread session each and make the answer by this project's code. "
        "There is one thread for one connection, and the fastest number of threads for more."
    ),
)
WORK = "demo-jpeg"


def measure(connections: Sequence[int], rounds: int, seconds: int) -> Turns:
    """Return the turns of the demo's picture. connections: each number of them is measured. Raises BenchError."""
    found = throughput.measure(image(), rounds, max(1, seconds - 1), seconds, connections)
    return {WORK: {count: [_turn(one) for one in found.rounds[count]] for count in connections}}


def _turn(one: Round) -> Turn:
    noise = {"others": one.noise.others, "stolen": one.noise.stolen}
    ours = Load(one.load.rate, one.load.p50, one.load.p99, 1000 * one.cpu.total / one.answers, **noise)
    return Turn(ours, Load(one.bare_rate, 0, 0, 1000 * one.bare_cpu, **noise))
