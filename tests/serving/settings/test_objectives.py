"""The objectives are numbers in the metrics' units."""

import pytest

from serving.settings import Settings, latency_objective


@pytest.mark.parametrize(
    ("objective", "timeout", "seconds"), [(0.0, 30.0, 15.0), (0.0, 0.05, 0.025), (250.0, 30.0, 0.25), (333.0, 1.0, 0.333)]
)
def test_a_good_answer_takes_as_long_as_the_setting_says_and_else_half_of_the_timeout(
    objective: float, timeout: float, seconds: float
) -> None:
    settings = Settings(service_name="a", username="b", objective_latency_ms=objective, timeout_second=timeout)
    assert latency_objective(settings) == seconds
