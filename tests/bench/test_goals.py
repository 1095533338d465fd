"""Goals and targets of speed, held against invented figures: beside other servers, of the server alone, and of four pods."""

import math
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from bench.lifecycle import Life
from bench.machine import Machine, Noise, Usage, usage
from bench.peers import goals, rounds
from bench.peers.goals import GOALS, Goal
from bench.peers.ours import EXCHANGES
from bench.peers.peer import Peer
from bench.peers.peer import found as found_peers
from bench.peers.report import not_quiet, write, write_goals
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


def peer(name: str) -> Peer:
    return Peer(name, f"Server {name}", name, "numpy", (), {}, "As it comes.", lacks="No tensors.")


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


def test_a_goal_is_judged_by_its_own_peer_work_and_connections() -> None:
    goal = Goal("of a", "a", "small-json", 1.0, 1.3)
    assert goals.turns(goal, results(result("b", 100), result("a", 100, work="jpeg"))) == []
    assert goals.turns(replace(goal, connections=1), results(result("a", 100))) == []
    assert len(goals.turns(goal, results(result("a", 100, 200)))) == 2


@pytest.mark.parametrize(("rate", "reached"), [(1001, "no"), (1000, "floor"), (770, "floor"), (769, "goal")])
def test_a_rate_reaches_its_floor_or_goal_at_that_ratio_or_above(rate: float, reached: str) -> None:
    goal = Goal("of a", "a", "small-json", 1.0, 1.3)
    assert goals.reached(goal, goals.turns(goal, results(result("a", rate)))) == reached


@pytest.mark.parametrize(("ours", "reached"), [(0.36, "no"), (0.35, "floor"), (0.26, "floor"), (0.25, "goal")])
def test_processor_time_an_answer_reaches_its_floor_or_goal_at_that_ratio_or_below(ours: float, reached: str) -> None:
    goal = Goal("of a", "a", "small-json", 0.35, 0.25, cpu=True)
    assert goals.reached(goal, [Turn(Load(1, 1, 1, ours), Load(1, 1, 1, 1.0))]) == reached


def test_a_ratio_without_a_floor_is_shown_and_reaches_nothing() -> None:
    goal = Goal("of a", "a", "small-json")
    assert goals.reached(goal, goals.turns(goal, results(result("a", 100)))) == ""


def test_the_goals_name_peers_with_the_work_that_they_are_judged_by() -> None:
    known = {one.name: set(rounds.plan(one)) for one in found_peers()} | {"demo": {"demo-jpeg"}, "before": set(EXCHANGES)}
    assert [goal.about for goal in GOALS if goal.work not in known[goal.peer]] == []
    assert goals.needed("bare") == {"small-json": (MANY,), "jpeg": (MANY,)}
    assert goals.needed("demo") == {"demo-jpeg": (MANY, 1)}
    assert goals.needed("ray") == {}


def test_a_peer_that_is_ahead_is_named_with_where() -> None:
    peers = [peer("slow"), peer("loop")]
    text = write(peers, results(result("slow", 100), result("loop", 4000)), MACHINE)
    assert "Server loop is ahead" in text
    assert "with 32 connections (ratio 0.25)" in text
    assert "Server slow is ahead" not in text
    assert "No peer is ahead" in write(peers, results(result("slow", 100)), MACHINE)


def test_the_goals_table_has_ratio_rate_and_processor_time_of_both_servers() -> None:
    text = write_goals(results(result("gunicorn", 800, 1000, work="jpeg")), MACHINE)
    assert "of gunicorn with two workers | 32 | 1.05 | 1.2 | **1.12** (1.00-1.25) | floor | 1000 | 500 | 900 | 250 |" in text
    assert "| JPEG of 17 KB: of mosec | 32 | 0.9 | 1 | not measured |  |  |  |  |  |" in text
    assert "median of 2 rounds" in text
    missed = write_goals(results(result("gunicorn", 2000, work="jpeg")), MACHINE)
    assert "| **0.50** (0.50-0.50) | **no** |" in missed


def test_a_machine_is_quiet_while_others_and_its_host_take_little() -> None:
    assert Noise(0.05, 0.02).quiet
    assert not Noise(0.051, 0.0).quiet
    assert not Noise(0.0, 0.021).quiet
    assert "other processes used 5.1 % of the cores" in str(Noise(0.051, 0.0))


def test_noise_is_what_other_processes_used_of_all_cores_between_two_moments() -> None:
    cores = len(os.sched_getaffinity(0))
    before = Usage(10.0, {1: 5.0, 2: 1.0, 3: 7.0}, 0.5)
    after = Usage(20.0, {1: 5.0 + cores, 2: 9.0, 4: 8.0}, 0.5 + 2 * cores)  # 3, whose 8 s its parent 4 waited for, has ended
    assert before.noise(after, [2]) == Noise((cores + 1) / (10 * cores), 0.2)
    assert before.used(after, [2]) == 8.0


def test_a_busy_process_that_a_measurement_did_not_start_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        before = usage()
        while (used := before.used(usage(), [other.pid])) < 0.2:
            time.sleep(0.05)
        after = usage()
        other.kill()
    assert before.noise(after, []).others > before.noise(after, [other.pid]).others
    assert used < 5


def test_the_noise_of_a_peers_result_is_that_of_all_its_loads_and_a_single_loud_peer_is_told() -> None:
    loads = Load(1, 1, 1, 1, others=0.3, stolen=0.1), Load(1, 1, 1, 1, others=0.1)
    loud = replace(result("a"), turns={"jpeg": {MANY: [Turn(*loads)]}})
    assert loud.noise == Noise(0.2, 0.05)
    assert not_quiet(results(result("b", 100)), MACHINE) == ""
    assert not_quiet(results(result("b", 100), loud), MACHINE).splitlines()[1:] == [f"a: {loud.noise}"]


SPREAD = {"p50": 5.0, "p90": 6.0, "p99": 7.0, "max": 8.0}


def figures(rates: tuple[float, ...] = (80.0, 93.0, 95.0), good: int = 1900) -> Figures:
    machine = Machine("2026-01-02", 2, "a processor", "Linux 6", "Python 3.11", 0.1)
    all_rounds = [Round(100.0, 0.02, Closed(rate, 10.0, 20.0, 0.1, 2.0), Cpu(2.5, 0.5, 0.2)) for rate in rates]
    statuses = {"200": {"count": good, "in_time": good, "from_schedule_ms": SPREAD}}
    statuses["429"] = {"count": 9, "in_time": 9, "from_schedule_ms": SPREAD}
    told = {"rate": 1000.0, "achieved_rate": 990.0, "not_sent": 200, "statuses": statuses, "errors": {}, "cpu_seconds": 4.0}
    overload = Overload([100.0, 90.0, 110.0], told, 20, 36.0, 150.0, 200.0, 155.0)
    life = Life(1.5, 0.7, 0.8, 170.0, 250.0, 180.0)
    speeds = Throughput(image(), 2, dict.fromkeys(CONNECTIONS, all_rounds))
    return Figures(machine, [speeds], Pings(1.0, 9.0, 2.0, 3000.0), overload, life)


def test_medians_of_the_rounds_are_held_against_the_targets() -> None:
    found = verdicts(figures())
    assert all(met for *_, met in found)
    assert [value for about, _, value, _ in found if "bare loop" in about or "goodput" in about] == ["0.93", "0.93", "0.95"]


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
