"""The sequential tests of a canary: bounds of a probability, and the evidence that one is too large.

Both hold at every look, however often somebody looks. They take numbers alone.
"""

import math
from collections.abc import Callable

PRECISION = 1e-15  # Relative, of the continued fraction.
TINY = 1e-300  # Stands for 0 in a denominator, as in Lentz' method.
MAX_STEPS = 10_000_000  # The fraction needs about the square root of its larger argument, so this is never reached.
HALVINGS = 100  # of an interval within 0 to 1: more than a float can hold


def share_of_bad(share: float, tolerance: float) -> float:
    """Return the probability that a bad request is the canary's, where its bad share is `tolerance` times the baseline's.

    share: the canary's part of both arms' requests, r. The result is t r / (t r + 1 - r). As only bad requests are looked at,
    it does not matter how often both arms fail, nor whether that changes with time.
    """
    return tolerance * share / (tolerance * share + 1 - share)


def log_evidence(canary: float, baseline: float, most: float) -> float:
    """Return ln E of the evidence that a bad request is the canary's with a probability over `most`.

    canary, baseline: numbers of bad requests, which need not be whole. E is the mean, over all p between `most` and 1, of the
    likelihood of p as a multiple of that of `most`: Beta(1, 1) cut to p above it. Where the probability is `most` or less, E
    is a non-negative supermartingale that begins at 1. So it ever reaches 1 / error with probability `error` at most,
    however often somebody looks (Ville's inequality). The source is Theorem 2.4 of Lindon and Malek, Anytime-Valid Inference
    for Multinomial Count Data, NeurIPS 2022, and the cut makes it one-sided. Where `most` is 0 or 1 nothing can be told: 0.0.
    """
    if not 0 < most < 1:
        return 0.0
    above = log_incomplete_beta(1 - most, baseline + 1, canary + 1)
    mixture = log_beta(canary + 1, baseline + 1) + above - math.log1p(-most)
    return mixture - canary * math.log(most) - baseline * math.log1p(-most)


def binomial_bounds(hits: float, trials: float, error: float) -> tuple[float, float]:
    """Return a lower and an upper bound of the probability of a hit.

    Both hold at every look together with probability 1 - error at least, however often somebody looks. hits: at most trials.
    They need not be whole. error: over 0, below 1.

    The set is all p with p^hits (1 - p)^(trials - hits) >= error B(hits + 1, trials - hits + 1). Rounding widens it. Lindon and
    Malek, Anytime-Valid Inference for Multinomial Count Data, NeurIPS 2022, Corollary 2.5, with two outcomes and the mixture
    Beta(1, 1). Robbins gave it in 1970.
    """
    misses = trials - hits
    least = math.log(error) + log_beta(hits + 1, misses + 1)

    def inside(p: float) -> bool:
        return (hits * math.log(p) if hits else 0.0) + (misses * math.log1p(-p) if misses else 0.0) >= least

    middle = hits / trials if trials else 0.5
    lower = _end(inside, middle, 0.0) if hits else 0.0
    upper = _end(inside, middle, 1.0) if misses else 1.0
    return lower, upper


def _end(inside: Callable[[float], bool], within: float, without: float) -> float:
    """Return the end of the set between a point within it and one without, on the outer side."""
    for _ in range(HALVINGS):
        middle = (within + without) / 2
        if middle in (within, without):
            break
        within, without = (middle, without) if inside(middle) else (within, middle)
    return without


def log_beta(a: float, b: float) -> float:
    """Return ln B(a, b). a, b: over 0."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def log_incomplete_beta(x: float, a: float, b: float) -> float:
    """Return ln I_x(a, b), the probability that a variable of Beta(a, b) is at most x. x: from 0 to 1. a, b: over 0.

    The value is relatively exact for a small I_x. For an I_x near 1 its difference from 1 is exact. The formulae are 8.17.4
    and 8.17.22 of the Digital Library of Mathematical Functions (dlmf.nist.gov).
    """
    if x <= 0:
        return -math.inf
    if x >= 1:
        return 0.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return _log_of_complement(log_incomplete_beta(1 - x, b, a)) if 1 - x > 0 else 0.0
    return a * math.log(x) + b * math.log1p(-x) - math.log(a) - log_beta(a, b) + math.log(_fraction(x, a, b))


def _log_of_complement(log_part: float) -> float:
    """Return ln(1 - exp(log_part)). The part is at most 1, and rounding may take it there."""
    return math.log(-math.expm1(log_part)) if log_part < 0 else -math.inf


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of 8.17.22, from its top by Lentz' method."""
    numerator, denominator = 1.0, 1 / (_nonzero(1 - (a + b) * x / (a + 1)))
    value = denominator
    for step in range(1, MAX_STEPS):
        even, odd = a + 2 * step, a + 2 * step - 1
        for term in (step * (b - step) * x / (odd * even), -(a + step) * (a + b + step) * x / (even * (even + 1))):
            denominator = 1 / _nonzero(1 + term * denominator)
            numerator = _nonzero(1 + term / numerator)
            change = denominator * numerator
            value *= change
        if abs(change - 1) < PRECISION:
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > TINY else TINY
