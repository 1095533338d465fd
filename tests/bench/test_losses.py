"""python -m bench.losses: what counts as lost in its table. tests/conf/rollout shows on a cluster that no request is lost."""

from bench import losses

FIGURES = {"requests": 100, "good": 97, "not_sent": 1, "ms": {"p50": 4.0, "p95": 7.0, "p99": 9.0, "max": 30.0}}


def test_every_request_without_a_200_counts_as_lost_and_so_does_one_that_was_not_sent() -> None:
    row = losses.Row("releases", (9.0, 10.0, 20.0), FIGURES, ("3 x 503", "1 not sent"))
    assert row.cells == ["releases", "3", "10.0", "100", "**4**", "4.0", "9.0", "30.0"]
