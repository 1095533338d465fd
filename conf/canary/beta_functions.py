"""The logarithms of the beta function and of the regularised incomplete beta function, for arguments up to 1e8 and beyond.

Knows numbers alone. Does not know counts or probabilities of anything.
"""

import math

PRECISION = 1e-15  # Relative, of the continued fraction.
TINY = 1e-300  # Stands for 0 in a denominator, as in Lentz' method.
MOST_STEPS = 10_000_000  # The fraction needs about the square root of its larger argument, so this is never reached.


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
        return _log_of_rest(log_incomplete_beta(1 - x, b, a)) if 1 - x > 0 else 0.0
    return a * math.log(x) + b * math.log1p(-x) - math.log(a) - log_beta(a, b) + math.log(_fraction(x, a, b))


def _log_of_rest(log_part: float) -> float:
    """Return ln(1 - exp(log_part)). The part is at most 1, and rounding may take it there."""
    return math.log(-math.expm1(log_part)) if log_part < 0 else -math.inf


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of 8.17.22, from its top by Lentz' method."""
    numerator, denominator = 1.0, 1 / (_nonzero(1 - (a + b) * x / (a + 1)))
    value = denominator
    for step in range(1, MOST_STEPS):
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
