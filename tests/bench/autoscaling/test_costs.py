import pytest

from bench.autoscaling import batching, costs
from bench.autoscaling.costs import Costs
from bench.served import BenchError

EVEN = Costs("x", {1: 0.1, 2: 0.2, 4: 0.4}, 2, "2026-01-01", "a processor")  # batches gain nothing
PAGE = """# TYPE monopod_warmup_seconds gauge
monopod_model_info{instances="2",model="m",provider="cpu",threads="1"} 1.0
monopod_warmup_seconds{model="m",rows="1"} 0.0125
monopod_warmup_seconds{model="m",rows="4"} 0.04
"""


def test_costs_are_read_from_the_servers_own_page() -> None:
    assert costs.parsed(PAGE) == ({1: 0.0125, 4: 0.04}, 2)
    with pytest.raises(BenchError, match="monopod_warmup_seconds"):
        costs.parsed("monopod_ready 1\n")


def test_the_committed_costs_are_read_as_they_are_written() -> None:
    assert costs.FILE.read_text() == costs.written(costs.read())


def test_a_size_that_was_not_measured_costs_what_lies_between() -> None:
    assert EVEN.seconds(3) == pytest.approx(0.3)
    assert EVEN.capacity == pytest.approx(20)


def test_without_a_gain_by_batches_a_pod_is_as_busy_as_it_is_loaded() -> None:
    found = batching.curve(EVEN)
    for load in (10, 40, 70, 90):
        assert found.busy[load] == pytest.approx(2 * load / 100, rel=0.05)
    assert (found.busy[0], found.busy[100]) == (0, 2)


def test_rows_that_share_a_batch_keep_a_half_loaded_pod_busier_than_its_load() -> None:
    found = batching.curve(Costs("x", {1: 0.1, 4: 0.1}, 1, "", ""))
    assert found.busy[50] > 0.75
    assert found.waiting[20] < found.waiting[50] < found.waiting[90]
