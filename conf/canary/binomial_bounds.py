"""Bounds of a probability from counts, which hold at all times at once.

Knows counts of trials. Does not know arms or requests.
"""

import math
from collections.abc import Callable

from conf.canary.beta_functions import log_beta

HALVINGS = 100  # of an interval within 0 to 1: more than a float can hold


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
