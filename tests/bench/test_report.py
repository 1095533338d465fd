"""The report on invented figures."""

from bench.lifecycle import Life
from bench.machine import Machine
from bench.pressure import Overload, Pings
from bench.process import Cpu
from bench.report import Figures, verdicts, write
from bench.throughput import CONNECTIONS, Round, Throughput
from bench.tools import Closed
from bench.work import image

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
    assert "**no**" in write(figures(good=1300))


def test_the_parts_of_the_cores_time_add_up_to_all_of_it() -> None:
    told = write(figures(rates=(60.0, 70.0, 80.0)))
    line = next(line for line in told.splitlines() if line.startswith("| image |"))
    shares = [int(cell) for cell in line.split("|")[2:7]]
    assert shares == [70, 5, 0, 2, 22]
