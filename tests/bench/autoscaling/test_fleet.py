"""A service of 10 rows a second for each pod, one instance, whose batches have one row."""

from bench.autoscaling import policies
from bench.autoscaling.autoscaler import Autoscaler
from bench.autoscaling.batching import PodCurve
from bench.autoscaling.costs import Costs
from bench.autoscaling.fleet import Seen, Service, run

CURVE = PodCurve(tuple(load / 100 for load in range(101)), (0.0,) * 101)
COSTS = Costs("x", {1: 0.1}, 1, "", "")


def service(queue: int = 1000, objective: float = 5, start: int = 20) -> Service:
    return Service(COSTS, CURVE, queue, objective, start)


def test_as_many_rows_as_pods_can_answer_are_all_answered() -> None:
    found = run(service(), [20] * 600, policies.fixed(2), 2)
    assert (found.rows, found.missed, found.pod_seconds, found.changes) == (12_000, 0, 1200, 0)


def test_a_full_queue_refuses_and_a_long_one_is_late() -> None:
    found = run(service(queue=40), [15] * 100, policies.fixed(1), 1)
    assert (found.refused, found.late) == (500 - 40, 0)
    patient = run(service(queue=1000), [15] * 100, policies.fixed(1), 1)
    assert patient.refused == 0
    assert patient.late == 15 * 90  # from the 11th second on more than 50 rows wait


def test_a_new_pod_helps_after_its_start_and_costs_from_the_beginning() -> None:
    late = run(service(queue=1), [20] * 60, policies.fixed(2), 1)
    assert late.refused == 20 * 10 - 1
    assert late.pod_seconds == 1 + 59 * 2


def test_the_queue_alone_asks_for_the_minimum_again_and_busy_time_keeps_what_the_load_needs() -> None:
    steady = [5] * 60 + [18] * 7200
    by_queue = run(service(), steady, policies.scaled(Autoscaler(1, 8, 60), policies.queue(16)), 1)
    by_both = run(service(), steady, policies.scaled(Autoscaler(1, 8, 60), policies.queue(16), policies.busy(1)), 1)
    assert by_queue.changes > 20
    assert len(set(by_both.pods[-30:])) == 1
    assert by_both.late < 0.1 * by_queue.late


def test_cores_that_a_card_leaves_idle_add_no_pod() -> None:
    overload = [30] * 1200
    on_cores = run(service(), overload, policies.scaled(Autoscaler(1, 8, 60), policies.cores(1)), 1)
    on_card = run(service(), overload, policies.scaled(Autoscaler(1, 8, 60), policies.cores(1, 0.3)), 1)
    assert (on_cores.most >= 4, on_card.most) == (True, 1)


def test_hours_hold_in_their_days_and_times() -> None:
    hours = policies.Hours((0, 1), 8, 18, 6)
    assert [hours.holds(second) for second in (0, 8 * 3600, 18 * 3600 - 1, 18 * 3600, 24 * 3600 * 2 + 9 * 3600)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert policies.by_hours([hours])(Seen(second=9 * 3600, pods=2)) == 6
    assert policies.by_hours([hours])(Seen(second=0, pods=6)) == 0


def test_who_knows_the_week_refuses_nothing_and_keeps_a_pod_over_a_gap_that_a_start_would_fill() -> None:
    rows = [10] * 100 + [40] * 30 + [10] * 10 + [40] * 30 + [10] * 200
    one = service(queue=1)
    first, policy = policies.known(one, rows)
    found = run(one, rows, policy, first)
    assert (first, found.refused, found.most) == (1, 0, 4)
    assert found.changes == 2  # up once, and down once: the gap of ten seconds is shorter than a start
    assert found.pod_seconds < 1.1 * (len(rows) + 3 * (30 + 10 + 30 + one.start) + 3 * 10)
