"""The counts of a canary's arms, from pages as pods give them."""

import pytest

from conf.rollout.canary.counting import (
    ERRORS,
    REFUSALS,
    Metrics,
    PodCounters,
    counts,
    duration_buckets,
    figures,
    requests,
    since,
    slower,
    sums,
)
from tests.conf.rollout.canary.scripted import pod_counters

METRICS = Metrics({0.5: 0.05}, ("demo_empty_answers_total",))


def page(good: int, failed: int = 0, in_batches: int = 0, batches: int = 0, refused: int = 0, slow: int = 0) -> PodCounters:
    return pod_counters(
        f"""
monopod_requests_total{{route="service",code="200",reason=""}} {good}
monopod_requests_total{{route="service",code="500",reason="service_failed"}} {failed}
monopod_requests_total{{route="service",code="500",reason="model_failed"}} {in_batches}
monopod_requests_total{{route="service",code="429",reason="queue_full"}} {refused}
monopod_requests_total{{route="service",code="400",reason="bad_input"}} 7
monopod_batch_failures_total{{model="m"}} {batches}
monopod_answer_duration_seconds_bucket{{route="service",le="0.05"}} {good - slow}
monopod_answer_duration_seconds_bucket{{route="service",le="+Inf"}} {good}
monopod_memory_limit_bytes 1000
process_resident_memory_bytes 400
monopod_warmup_seconds{{model="m",rows="1"}} 0.02
demo_empty_answers_total {slow}
"""
    )


def test_a_step_counts_what_pods_counted_since_it_began_and_all_of_new_pods() -> None:
    begin = {"a": sums(page(10, failed=1), METRICS)}
    latest = {"a": sums(page(30, failed=2, refused=3, slow=5), METRICS), "b": sums(page(4), METRICS)}
    found = counts(since(begin, latest), METRICS)
    assert (found[ERRORS].requests, found[ERRORS].bad) == (25, 1)
    assert (found[REFUSALS].requests, found[REFUSALS].bad) == (28, 3)
    assert (found[slower(0.05)].requests, found[slower(0.05)].bad) == (24, 5)
    assert (found["demo_empty_answers_total"].requests, found["demo_empty_answers_total"].bad) == (25, 5)


def test_a_pod_that_was_restarted_counts_from_zero() -> None:
    begin = {"a": sums(page(1000, failed=10), METRICS)}
    total = since(begin, {"a": sums(page(5, failed=1), METRICS)})
    assert (requests(total), total["failed"]) == (6, 1)


def test_a_failed_batch_is_one_cause_of_many_failed_requests() -> None:
    found = counts(sums(page(100, in_batches=16, batches=2), METRICS), METRICS)[ERRORS]
    assert (found.requests, found.bad, found.bad_together) == (116, 16, 8.0)


def test_an_arm_that_no_request_has_met_has_counts_of_zero() -> None:
    assert {(each.requests, each.bad) for each in counts({}, METRICS).values()} == {(0, 0)}
    assert requests({}) == 0


def test_buckets_of_pods_are_summed_and_the_fullest_pod_is_the_arms_memory() -> None:
    assert duration_buckets([page(10, slow=2), page(5)]) == {0.05: 13.0, float("inf"): 15.0}
    found = figures([page(1), page(1)], 2)
    assert found.memory == pytest.approx(0.4)
    assert (found.restarts, found.batch_seconds) == (2, {("m", 1): 0.02})
