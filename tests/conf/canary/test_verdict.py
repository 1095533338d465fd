"""Verdicts on counts, the share of routing, bounds of latency, fixed limits, and how long a step must last."""

import itertools
import math
import random
import re
import statistics

import numpy as np
import pytest

from conf.canary.counts import Counts, alike, batch_of_a_request, errors, latency_edges
from conf.canary.sample_size import requests_until_found, requests_until_good, seconds_until_found
from conf.canary.sequential_tests import log_evidence, share_of_bad
from conf.canary.verdict import Figures, Judging, Limits, Metric, Verdict, judge, passed_limits, sample_ratio_error

ERRORS = Judging((Metric("errors", 0.005),))


def verdict(canary: Counts, baseline: Counts, share: float = 0.5, settings: Judging = ERRORS) -> Verdict:
    return judge({"errors": canary}, {"errors": baseline}, share, settings)


def test_a_canary_that_fails_far_more_often_is_worse_and_the_words_say_why() -> None:
    found = verdict(Counts(1000, 60), Counts(1010, 2))
    assert found.state == "worse"
    (words,) = found.words
    assert words.startswith("errors: worse: 60 of 1,000 (6 %)")
    assert "2 of 1,010 (0.2 %) in the baseline" in words
    assert words.endswith("at 100 it is worse)")


def test_many_metrics_are_told_in_one_line_that_names_what_decides() -> None:
    names = [f"slower than {edge} ms" for edge in (25, 250, 1000)]
    settings = Judging(tuple(Metric(name, 0.005) for name in ("errors", *names)))
    same, bad, good = Counts(500, 0), Counts(5000, 900), Counts(5000, 0)
    found = judge(
        dict(zip(("errors", *names), (same, bad, good, same), strict=True)),
        dict.fromkeys(("errors", *names), good),
        0.5,
        settings,
    )
    assert found.summary == f"{found.words[0]}; the others: 2 not known yet, 1 good"
    assert found.summary.startswith("slower than 25 ms: worse: 900 of 5,000")
    assert len(found.summary) < 220 < len("; ".join(found.words))
    assert verdict(good, good).summary == verdict(good, good).words[0]


def test_no_number_of_a_verdict_has_an_exponent() -> None:
    for canary in (Counts(0, 0), Counts(3, 3), Counts(1_000_000, 1), Counts(1_000_000, 1_000_000)):
        words = " ".join(verdict(canary, Counts(0, 0)).words + verdict(canary, Counts(1_000_000, 0)).words)
        assert not re.search(r"\de[+-]", words)
    assert "(100 percentage points more at most" in verdict(Counts(0, 0), Counts(0, 0)).words[0]


def test_a_canary_like_the_baseline_is_good_once_the_counts_bound_the_difference() -> None:
    assert verdict(Counts(1000, 0), Counts(1000, 0)).state == "unknown"
    found = verdict(Counts(5000, 0), Counts(5000, 0))
    assert found.state == "good"
    assert found.metrics[0].most_worse < 0.005
    assert verdict(Counts(5000, 25), Counts(5000, 25)).state == "unknown"
    assert verdict(Counts(80_000, 400), Counts(80_000, 400)).state == "good"


@pytest.mark.parametrize(
    ("canary", "baseline", "share", "states"),
    [
        (Counts(0, 0), Counts(0, 0), 0.5, {"unknown"}),  # no requests are no verdict
        (Counts(500, 500), Counts(0, 0), 0.5, {"unknown"}),  # without a baseline nothing can be compared
        (Counts(1_000_000, 12_000), Counts(1_000_000, 10_000), 0.5, {"unknown", "good"}),  # it is within the tolerance
        (Counts(1_000_000, 14_000), Counts(1_000_000, 10_000), 0.5, {"worse"}),
        (Counts(5_000, 50), Counts(95_000, 950), 0.05, {"unknown"}),  # 5 % of the errors are its fair part
        (Counts(5_000, 150), Counts(95_000, 950), 0.05, {"worse"}),
        (Counts(20_000, 200), Counts(10_000, 100), 0.5, {"unknown", "good"}),  # more requests excuse more errors
        (Counts(1000, 5000), Counts(1000, 5000), 0.5, {"unknown"}),  # a counter above the requests is never good
        (Counts(1000, 9000), Counts(1000, 5000), 0.5, {"worse"}),
        (alike(5000, 0, batch=8), alike(5000, 0, batch=8), 0.5, {"unknown"}),  # as single requests they are good
    ],
)
def test_counts_are_judged_by_their_difference_and_share(
    canary: Counts, baseline: Counts, share: float, states: set[str]
) -> None:
    assert verdict(canary, baseline, share=share).state in states


def test_a_failed_batch_counts_once() -> None:
    """Three batches of eight more are chance; as many single requests would not be."""
    alone = errors(10_000, 40, 0, 0), errors(10_000, 8, 0, 0)
    batches = errors(10_000, 40, 40, 5, batch=8), errors(10_000, 8, 8, 1, batch=8)
    assert verdict(*alone).state == "worse"
    assert verdict(*batches).state == "unknown"
    assert batches[0].bad_together == 8
    assert errors(10_000, 48, 40, 5).bad_together == 48 / 13  # five batches, and eight requests by themselves


def test_a_version_with_larger_batches_is_not_worse_by_that() -> None:
    canary, baseline = errors(80_000, 640, 640, 20, batch=32), errors(80_000, 640, 640, 160, batch=4)
    assert verdict(canary, baseline).state != "worse"
    assert verdict(baseline, canary).state != "worse"


def test_all_metrics_must_be_good_and_one_is_enough_to_be_worse() -> None:
    settings = Judging((Metric("errors", 0.005), Metric("slow", 0.03)), steps=3)
    assert settings.threshold == pytest.approx(600)
    good, bad = Counts(50_000, 10), Counts(50_000, 500)
    states = {
        (first, second): judge(
            {"errors": first, "slow": second}, {"errors": good, "slow": good}, share=0.5, settings=settings
        ).state
        for first, second in itertools.product((good, bad, Counts(0, 0)), repeat=2)
    }
    nothing = Counts(0, 0)
    assert states[good, good] == "good"
    assert states[good, nothing] == "unknown"
    assert {state for pair, state in states.items() if bad in pair} == {"worse"}


def test_evidence_that_no_float_holds_is_told() -> None:
    found = verdict(Counts(1_000_000, 500_000), Counts(1_000_000, 0))
    assert found.metrics[0].evidence == math.inf
    assert "evidence over 1,000,000, at 100" in found.words[0]


@pytest.mark.parametrize("share", [0.0, 1.0, 50.0])
def test_a_share_must_be_a_part(share: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        verdict(Counts(1, 0), Counts(1, 0), share=share)


def test_settings_and_counts_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 metric"):
        Judging(())
    with pytest.raises(ValueError, match="confidence between 0 and 1"):
        Judging(ERRORS.metrics, confidence=1.0)
    with pytest.raises(ValueError, match="counts are at least 0"):
        Counts(-1, 0)


def test_a_requests_batch_weighs_large_batches() -> None:
    assert batch_of_a_request({8: 100, float("inf"): 100}, rows=800, requests=800) == 8
    # 80 rows alone, and 10 batches of 8: half of the requests are alone, half with eight
    assert batch_of_a_request({1: 80, 8: 90, float("inf"): 90}, rows=160, requests=160) == 4.5
    assert batch_of_a_request({8: 100, float("inf"): 100}, rows=800, requests=100) == 1  # each request has eight rows
    assert batch_of_a_request({}, rows=0, requests=0) == 1


def test_routing_that_gives_another_share_is_an_error_and_chance_is_not() -> None:
    assert sample_ratio_error(0, 0, 0.5, ERRORS) is None
    assert sample_ratio_error(20, 12, 0.5, ERRORS) is None
    assert sample_ratio_error(5_100, 4_900, 0.5, ERRORS) is None  # 51 % is within the tolerance
    assert sample_ratio_error(0, 300, 0.05, ERRORS) is not None
    wrong = sample_ratio_error(9_000, 1_000, 0.5, ERRORS)
    assert wrong is not None
    assert wrong.startswith("the canary got 9,000 of the 10,000")
    assert "90 %, and was to get 50 %" in wrong


def test_chance_makes_hardly_any_error_of_the_share() -> None:
    """Even where routing is off by the whole tolerance, at most 1 % of the canaries are an error, whenever it is looked at."""
    settings = Judging(ERRORS.metrics, steps=1)
    chance = random.Random(5)
    wrong = 0
    for _ in range(1000):
        canary = baseline = 0
        for _ in range(20):
            came = sum(chance.random() < share_of_bad(0.5, 1.25) for _ in range(25))
            canary, baseline = canary + came, baseline + 25 - came
            if sample_ratio_error(canary, baseline, 0.5, settings):
                wrong += 1
                break
    assert wrong <= 10


def test_the_edges_are_the_bounds_nearest_to_the_quantiles() -> None:
    buckets = {0.01: 10, 0.02: 480, 0.03: 900, 0.05: 945, 0.1: 989, 0.2: 1000, float("inf"): 1000}
    assert latency_edges(buckets) == {0.5: 0.02, 0.95: 0.05, 0.99: 0.1}
    one = {0.01: 1000, 0.02: 1000, float("inf"): 1000}
    assert latency_edges(one) == {0.5: 0.01}  # one bound is judged once
    assert latency_edges({0.01: 0, 0.02: 0, float("inf"): 100}) == {0.5: 0.02}  # all are above the last bound
    with pytest.raises(ValueError, match="no answers"):
        latency_edges({0.01: 0, float("inf"): 0})


def test_fixed_limits_name_what_passed_them() -> None:
    baseline = Figures(memory=0.5, restarts=0, batch_seconds={("demo", 1): 0.01, ("demo", 8): 0.05})
    like = Figures(memory=0.6, restarts=0, batch_seconds={("demo", 1): 0.011, ("demo", 8): 0.06, ("new", 1): 9.0})
    assert passed_limits(like, baseline, Limits()) == ()
    worse = Figures(memory=0.97, restarts=1, batch_seconds={("demo", 1): 0.02, ("demo", 8): 0.1})
    found = passed_limits(worse, baseline, Limits())
    assert [words.partition(":")[0] for words in found] == ["memory", "restarts", "batch cost"]
    assert found[2].endswith("2 times the baseline's, over 1.5")


@pytest.mark.parametrize(
    ("bad_share", "bad_together", "share"), [(0.0, 1, 0.5), (0.001, 1, 0.5), (0.01, 8, 0.5), (0.002, 1, 0.05)]
)
def test_the_time_until_found_is_near_the_median_of_simulated_canaries(
    bad_share: float, bad_together: int, share: float
) -> None:
    """Bad requests come as a Poisson process; the median of 200 simulated times is known to about 5 %."""
    settings = Judging(ERRORS.metrics, steps=3)
    rate = 40.0
    told = seconds_until_found(rate, share, settings, bad_share, 0.01, bad_together)
    causes = share * (bad_share + 0.01) / bad_together * rate, (1 - share) * bad_share / bad_together * rate
    most, times = share_of_bad(share, settings.tolerance), []
    for seed in range(200):
        chance, seconds, canary, baseline = random.Random(seed), 0.0, 0, 0
        while log_evidence(canary, baseline, most) < math.log(settings.threshold):
            seconds += chance.expovariate(sum(causes))
            if chance.random() < causes[0] / sum(causes):
                canary += 1
            else:
                baseline += 1
        times.append(seconds)
    assert 0.95 < told / statistics.median(times) < 1.25


def test_what_cannot_be_found_takes_for_ever() -> None:
    assert seconds_until_found(0.0, 0.5, ERRORS) == math.inf
    assert seconds_until_found(100.0, 0.5, ERRORS, bad_share=0.5) == math.inf  # 51 % is within the tolerance of 50 %
    assert requests_until_found(0.5, ERRORS, bad_share=0.039999, more=0.01) == math.inf  # grows too slowly to be reached


@pytest.mark.parametrize(("bad_share", "together", "share"), [(0.0, 1, 0.5), (0.01, 1, 0.5), (0.01, 4, 0.5), (0.5, 2, 0.1)])
def test_the_time_until_good_is_near_the_median_of_simulated_canaries(bad_share: float, together: int, share: float) -> None:
    """Each arm's bad causes are as many as chance makes them; looks are 2 % of the told requests apart."""
    settings = Judging((Metric("errors", 0.02 if bad_share < 0.1 else 0.1),))
    seen = Counts(100_000, round(100_000 * bad_share), together, together)
    told, needed = requests_until_good(share, settings, {"errors": seen}), []
    for seed in range(60):
        chance, state, looks = np.random.default_rng(seed), "unknown", 0
        bad, causes = [0, 0], [round(part * 0.02 * told / together) for part in (share, 1 - share)]
        while state != "good":
            looks += 1
            bad = [before + int(chance.binomial(each, bad_share)) for before, each in zip(bad, causes, strict=True)]
            arms = [
                Counts(looks * each * together, count * together, together, together)
                for each, count in zip(causes, bad, strict=True)
            ]
            state = verdict(arms[0], arms[1], share, settings).state
        needed.append(looks * 0.02)
    assert 0.75 < 1 / statistics.median(needed) < 1.1


def test_the_metric_that_needs_the_most_requests_decides_when_a_canary_is_good() -> None:
    two = Judging((Metric("errors", 0.005), Metric("slow", 0.03)))
    seen = {"errors": Counts(1000, 0), "slow": Counts(1000, 50)}
    alone = requests_until_good(0.5, Judging(two.metrics[1:]), seen)
    assert requests_until_good(0.5, two, seen) == alone > requests_until_good(0.5, ERRORS, seen)
    assert requests_until_good(0.5, two, {**seen, "slow": Counts(0, 0)}) == math.inf
    assert requests_until_good(0.5, two, {**seen, "slow": Counts(10, 30)}) == math.inf  # counts more than requests
