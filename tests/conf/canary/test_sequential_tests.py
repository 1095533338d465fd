"""The evidence and the bounds agree with exact arithmetic and with integrals, and keep their promises at every look."""

import math
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction

import pytest

from conf.canary.sequential_tests import binomial_bounds, log_evidence, log_incomplete_beta, share_of_bad

SHARES = (Fraction(1, 20), Fraction(1, 4), Fraction(5, 9), Fraction(9, 10))
MANY = (
    (56_000_000, 44_000_000),
    (55_560_000, 44_440_000),
    (50_000_000, 50_000_000),
    (900, 99_999_100),
    (99_999_990, 10),
    (60_000.5, 40_000.25),
)


def exact_evidence(canary: int, baseline: int, most: Fraction) -> Fraction:
    """E as a fraction. The integral of p^canary (1 - p)^baseline is a binomial tail times 1 / ((n + 1) C(n, canary))."""
    n = canary + baseline
    rest = 1 - most
    terms = (math.comb(n + 1, k) * rest**k * most ** (n + 1 - k) for k in range(baseline + 1, n + 2))
    tail = sum(map(Fraction, terms), Fraction(0))
    return tail / ((n + 1) * math.comb(n, canary)) / rest / Fraction(most**canary * rest**baseline)


def integrated_log_evidence(canary: float, baseline: float, most: float, points: int = 200_000) -> float:
    """ln E by the trapezoidal rule, over the part of [most, 1] where the likelihood is not negligible."""
    n = canary + baseline
    best = min(max(canary / n, most), 1.0)
    width = 14 * math.sqrt(max(best * (1 - best), 1 / n) / n)
    slope = abs(canary / most - baseline / (1 - most)) if best == most else 0.0  # the likelihood falls steeply from `most` on
    width = min(width, 60 / slope) if slope else width
    start, end = max(most, best - width), min(1.0, best + width)

    def likelihood(p: float) -> float:
        high = canary * math.log(p / most) if canary else 0.0
        low = baseline * (math.log1p(-p) - math.log1p(-most)) if baseline and p < 1 else (-math.inf if baseline else 0.0)
        return high + low

    values = [likelihood(start + (end - start) * i / points) for i in range(points + 1)]
    peak = max(values)
    total = (
        math.fsum(math.exp(value - peak) for value in values) - (math.exp(values[0] - peak) + math.exp(values[-1] - peak)) / 2
    )
    return peak + math.log(total * (end - start) / points / (1 - most))


@pytest.mark.parametrize("most", SHARES)
def test_evidence_of_small_counts_is_exact(most: Fraction) -> None:
    for canary in (0, 1, 2, 7, 30, 150):
        for baseline in (0, 1, 3, 25, 140):
            found = log_evidence(canary, baseline, float(most))
            exact = exact_evidence(canary, baseline, most)
            expected = math.log(exact.numerator) - math.log(exact.denominator)
            assert found == pytest.approx(expected, abs=1e-10), (canary, baseline)


@pytest.mark.parametrize(("canary", "baseline"), MANY)
@pytest.mark.parametrize("most", [0.2, 5 / 9])
def test_evidence_of_many_is_the_integral(canary: float, baseline: float, most: float) -> None:
    assert log_evidence(canary, baseline, most) == pytest.approx(integrated_log_evidence(canary, baseline, most), abs=1e-4)


def test_the_incomplete_beta_function_is_the_binomial_tail() -> None:
    for x in (Fraction(1, 1000), Fraction(3, 10), Fraction(1, 2), Fraction(99, 100)):
        for a in (1, 4, 60):
            for b in (1, 9, 200):
                n = a + b - 1
                exact = sum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
                expected = math.log(exact.numerator) - math.log(exact.denominator)
                assert log_incomplete_beta(float(x), a, b) == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("true", [0.3, 0.5, 5 / 9])
def test_evidence_is_a_supermartingale_where_the_canary_is_within_the_tolerance(true: float) -> None:
    """Its mean after n bad requests is 1 at the tolerance, and less below it."""
    for n in (1, 5, 60):
        weights = [math.comb(n, k) * true**k * (1 - true) ** (n - k) for k in range(n + 1)]
        mean = sum(weight * math.exp(log_evidence(k, n - k, 5 / 9)) for k, weight in enumerate(weights))
        assert mean == pytest.approx(1.0, abs=1e-9) if true == 5 / 9 else mean < 1


def chance_of_stopping(share: float, looks: int, stops: Callable[[int, int], bool]) -> float:
    """Return the exact chance that a row of trials is stopped at a look. stops: of the hits and the trials at that look."""
    paths = {0: 1.0}
    for n in range(1, looks + 1):
        after: dict[int, float] = defaultdict(float)
        for k, chance in paths.items():
            after[k + 1] += chance * share
            after[k] += chance * (1 - share)
        paths = {k: chance for k, chance in after.items() if not stops(k, n)}
    return 1 - sum(paths.values())


def test_looking_after_every_bad_request_crosses_the_threshold_with_the_error_allowed_at_most() -> None:
    most, error = share_of_bad(0.5, 1.25), 0.05
    crossed = chance_of_stopping(most, 500, lambda k, n: log_evidence(k, n - k, most) >= math.log(1 / error))
    assert 0.01 < crossed <= error


@pytest.mark.parametrize("true", [0.02, 0.5])
def test_the_bounds_hold_at_all_looks_together(true: float) -> None:
    def is_missed(k: int, n: int) -> bool:
        lower, upper = binomial_bounds(k, n, 0.1)
        return not lower <= true <= upper

    assert 0.005 < chance_of_stopping(true, 300, is_missed) <= 0.1


def test_bounds_without_hits_or_trials() -> None:
    assert binomial_bounds(0, 0, 0.01) == (0.0, 1.0)
    lower, upper = binomial_bounds(0, 1000, 0.005)
    assert lower == 0.0
    assert upper == pytest.approx(1 - (0.005 / 1001) ** (1 / 1000))  # (1 - p)^1000 = error B(1, 1001)
    assert binomial_bounds(1000, 1000, 0.005)[0] == pytest.approx(1 - upper)
    assert binomial_bounds(1000, 1000, 0.005)[1] == 1.0


def test_bounds_of_many_trials_close_in_and_lie_outside_of_the_share() -> None:
    lower, upper = binomial_bounds(1_000_000, 100_000_000, 0.005)
    assert 0.00994 < lower < 0.01 < upper < 0.01006
