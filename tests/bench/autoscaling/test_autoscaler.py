import pytest

from bench.autoscaling.autoscaler import Autoscaler, by_average, by_use


@pytest.mark.parametrize(
    ("total", "current", "pods"),
    [
        (0, 3, 0),
        (10, 1, 1),  # the target itself
        (10.9, 1, 1),  # within the tolerance of 10 %
        (12, 1, 2),
        (27.5, 3, 3),  # 8 % below
        (26, 3, 3),  # 13 % below, and still more than two pods' targets
        (19, 3, 2),
        (95, 2, 10),
    ],
)
def test_an_average_is_compared_with_the_target_of_all_pods(total: float, current: int, pods: int) -> None:
    assert by_average(total, 10, current) == pods


@pytest.mark.parametrize(
    ("use", "ready", "current", "pods"),
    [
        (0.8, 4, 4, 4),
        (0.86, 4, 4, 4),
        (1.0, 4, 4, 5),
        (0.2, 4, 4, 1),
        (1.0, 4, 8, 8),  # four pods start; with them counted as unused the share is below the target
        (1.0, 7, 8, 8),  # within the tolerance once the eighth counts as unused
        (1.6, 7, 8, 14),
    ],
)
def test_pods_that_start_count_as_unused_on_the_way_up(use: float, ready: int, current: int, pods: int) -> None:
    assert by_use(use, 0.8, ready, current) == pods


def test_pods_go_only_when_fewer_were_enough_for_the_whole_window() -> None:
    scaler = Autoscaler(1, 10, 60)
    asked = {0: 5, 15: 2, 30: 3, 45: 2, 60: 2, 75: 2, 90: 1, 105: 1}
    pods, found = 5, []
    for second, wanted in asked.items():
        pods = scaler.decide(second, pods, [wanted])
        found.append(pods)
    assert found == [5, 5, 5, 5, 3, 3, 2, 2]


def test_the_largest_of_all_metrics_counts_within_the_limits_and_the_pace_upwards() -> None:
    scaler = Autoscaler(2, 9, 600)
    assert scaler.decide(0, 2, [0, 1]) == 2
    assert scaler.decide(15, 2, [1, 40]) == 6  # four more pods at most, or twice as many
    assert scaler.decide(30, 6, [1, 40]) == 9
