"""Goals and targets of speed, held against invented figures: beside other servers, of the server alone, and of four pods."""

import math
from dataclasses import replace

from bench.lifecycle import Life
from bench.machine import Machine
from bench.peers import goals
from bench.peers.goals import GOALS
from bench.peers.peer import Group, Peer
from bench.peers.report import write
from bench.peers.rounds import Load, Result, Turn
from bench.peers.works import MANY
from bench.pods.ladder import Sides
from bench.pods.report import Even
from bench.pods.report import Figures as PodFigures
from bench.pods.report import verdicts as pod_verdicts
from bench.pods.servers import CardUse
from bench.pressure import Overload, Pings
from bench.process import Cpu
from bench.report import Figures, verdicts
from bench.throughput import CONNECTIONS, Round, Throughput
from bench.tools import Closed
from bench.work import image

MACHINE = Machine("2026-01-02", 2, "a processor", "Linux 6", "Python 3.11", 0.1)


def peer(name: str, group: Group = "python") -> Peer:
    return Peer(name, f"Server {name}", name, "numpy", (), {}, "As it comes.", lacks="No tensors.", group=group)


def result(name: str, *rates: float, work: str = "small-json", error: str = "") -> Result:
    """A result whose rounds have these rates of the peer, where this server always has 1000."""
    turns = [Turn(Load(1000, 1, 2, 0.5), Load(rate, 3, 4, 0.25)) for rate in rates]
    found = {work: {MANY: turns}} if turns else {}
    return Result(name, f"Server {name}", "1.2", "2026-01-02", 60.0, found, error, "abc of 2026-01-01")


def results(*all_of_them: Result) -> dict[str, Result]:
    return {one.name: one for one in all_of_them}


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    assert goals.ratio(result("a", 500, 250, 2000), "small-json", MANY) == 2
    assert goals.ratio(result("a"), "small-json", MANY) is None


def test_the_best_peer_of_a_group_decides_and_before_is_derived_from_turns_with_both() -> None:
    peers = [peer("slow"), peer("quick"), peer("loop", "bare")]
    measured = results(result("slow", 100), result("quick", 800), result("loop", 4000), result("before", 500))
    best = goals.found(GOALS[1], peers, measured)
    assert (best.peer, best.ratio, best.before) == ("Server quick", 1.25, 0.625)
    assert goals.found(GOALS[0], peers, measured).ratio == 0.25


def test_a_peer_that_is_ahead_is_named_with_where() -> None:
    peers = [peer("slow"), peer("loop", "bare")]
    text = write(peers, results(result("slow", 100), result("loop", 4000)), MACHINE)
    assert "Server loop is ahead" in text
    assert "with 32 connections (ratio 0.25)" in text
    assert "Server slow is ahead" not in text
    assert "No peer is ahead" in write(peers, results(result("slow", 100)), MACHINE)


def test_a_goal_says_whether_goal_or_floor_was_reached_or_nothing_measured() -> None:
    text = write([peer("a", "bare")], results(result("a", 1600, work="jpeg"), result("before", 400, work="jpeg")), MACHINE)
    assert "| JPEG: of the bare uvloop loop | 0.8 | 0.9 | **0.62** | 0.25 | **no** |" in text
    assert "| JPEG: of Triton | 0.9 | 1.1 | not measured |  |  |" in text
    assert "| **0.85**" in write([peer("a", "bare")], results(result("a", 1000 / 0.85, work="jpeg")), MACHINE)


SPREAD = {"p50": 5.0, "p90": 6.0, "p99": 7.0, "max": 8.0}


def figures(rates: tuple[float, ...] = (80.0, 90.0, 95.0), good: int = 1900) -> Figures:
    machine = Machine("2026-01-02", 2, "a processor", "Linux 6", "Python 3.11", 0.1)
    rounds = [Round(100.0, 0.02, Closed(rate, 10.0, 20.0, 0.1, 2.0), Cpu(2.5, 0.5, 0.2)) for rate in rates]
    statuses = {"200": {"count": good, "in_time": good, "from_schedule_ms": SPREAD}}
    statuses["429"] = {"count": 9, "in_time": 9, "from_schedule_ms": SPREAD}
    told = {"rate": 1000.0, "achieved_rate": 990.0, "not_sent": 200, "statuses": statuses, "errors": {}, "cpu_seconds": 4.0}
    overload = Overload([100.0, 90.0, 110.0], told, 20, 36.0, 150.0, 200.0, 155.0)
    life = Life(1.5, 0.7, 0.8, 170.0, 250.0, 180.0)
    speeds = Throughput(image(), 2, dict.fromkeys(CONNECTIONS, rounds))
    return Figures(machine, [speeds], Pings(1.0, 9.0, 2.0, 3000.0), overload, life)


def test_medians_of_the_rounds_are_held_against_the_targets() -> None:
    found = verdicts(figures())
    assert all(met for *_, met in found)
    assert [value for about, _, value, _ in found if "bare loop" in about or "goodput" in about] == ["0.90", "0.90", "0.95"]


def test_a_target_that_is_missed_says_so() -> None:
    missed = [about for about, _, _, met in verdicts(figures(rates=(50.0, 79.0, 80.0), good=1300)) if not met]
    assert missed == [
        "image, 32 connections, of the bare loop",
        "image, 1 connection, of the bare loop with one thread",
        "overload: goodput, of the peak",
    ]


CARDS = (CardUse(50.0, 9000), CardUse(52.0, 9100), CardUse(51.0, 9300), CardUse(50.5, 9200))
EVEN = Even(700.0, 60, 20.0, 45.0, 42000, 42000, CARDS, 0, 20.0, 4.0, 3.0)


def pod_figures(even: Even = EVEN, pods: float = 1000.0) -> PodFigures:
    machine = Machine("2026-01-02", 2, "a processor", "Linux 6", "Python 3.11", 0.1)
    climbed = [{pods / 2: 30.0, pods: p99, pods + 100: 150.0} for p99 in (45.0, 55.0, 90.0)]
    ways = {"another": [{200.0: 20.0, 320.0: 70.0}] * 3, "one": [{200.0: 20.0, 320.0: 50.0, 350.0: math.inf}] * 3}
    return PodFigures(machine, Sides(1280, 381), 32, 5, climbed, ways, even)


def test_rates_are_those_of_the_median_over_the_rounds() -> None:
    assert pod_figures().rates(60) == Sides(1000, 320)
    assert pod_figures().rates(40) == Sides(500, 200)


def test_both_targets_are_held_against_what_was_found() -> None:
    assert [(found, met) for _, _, found, met in pod_verdicts(pod_figures())] == [("3.12", True), ("1.040", True)]
    uneven = replace(EVEN, cards=(CardUse(40.0, 1), *CARDS))
    assert [met for *_, met in pod_verdicts(pod_figures(uneven, 900.0))] == [False, False]


def test_an_even_load_of_which_a_part_was_refused_meets_no_target() -> None:
    assert [met for *_, met in pod_verdicts(pod_figures(replace(EVEN, good=EVEN.due - 1)))] == [True, False]


def test_a_side_that_holds_no_step_is_no_division_by_zero() -> None:
    assert Sides(500.0, 0.0).ratio == math.inf
    assert replace(EVEN, cards=(CardUse(0.0, 0), *CARDS)).balance == math.inf
